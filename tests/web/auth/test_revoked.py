"""Which tokens a revocation is for, exactly."""

from __future__ import annotations

from itertools import permutations

import pytest

from db.revocations import Revocation
from web.auth.caller import ANYBODY, Caller
from web.auth.revoked import OUTLIVES, TOKEN_REVOKED, USER_REVOKED, Revoked

NOW = 1_800_000_000.25


def known(*entries: Revocation) -> Revoked:
    revoked = Revoked()
    revoked.learn(entries, NOW)
    return revoked


def of_user(number: int, user_id: str, revoked_at: float = NOW, expires_at: float | None = None) -> Revocation:
    return Revocation(number, user_id, None, revoked_at, expires_at)


def of_token(number: int, token_id: str, expires_at: float | None = None) -> Revocation:
    return Revocation(number, None, token_id, NOW, expires_at)


@pytest.mark.parametrize(
    ("caller", "reason"),
    [
        (Caller("1", issued_at=NOW - 1e6), USER_REVOKED),
        (Caller("1", issued_at=NOW), USER_REVOKED),
        (Caller("1", issued_at=None), USER_REVOKED),
        (Caller("1", issued_at=float(int(NOW))), USER_REVOKED),
        (Caller("1", issued_at=NOW + 0.001), None),
        (Caller("1", issued_at=float(int(NOW) + 1)), None),
        (Caller("01", issued_at=NOW), None),
        (Caller("2", issued_at=NOW), None),
        (Caller(None), None),
        (Caller("2", token_id="t", issued_at=NOW + 1000), TOKEN_REVOKED),
        (Caller(None, token_id="t"), TOKEN_REVOKED),
        (Caller("2", token_id="T"), None),
        (Caller("2", token_id="1"), None),
        (Caller("t", issued_at=NOW), None),
        (ANYBODY, None),
    ],
)
def test_a_users_tokens_up_to_that_moment_or_without_one_and_a_token_by_its_name(
    caller: Caller, reason: str | None
) -> None:
    """Those that say whole seconds are refused for the whole second: they may be older than it looks."""
    assert known(of_user(1, "1"), of_token(2, "t")).refuses(caller) == reason


def test_the_latest_counts_in_whatever_order_they_are_learnt() -> None:
    entries = [of_user(number, "1", NOW + number) for number in (1, 2, 3)]
    for order in permutations(entries):
        revoked = known(*order)
        assert revoked.refuses(Caller("1", issued_at=NOW + 3)) == USER_REVOKED
        assert revoked.refuses(Caller("1", issued_at=NOW + 3.5)) is None


def test_what_was_known_is_not_new() -> None:
    revoked = Revoked()
    assert revoked.learn([of_user(1, "1"), of_token(2, "t")], NOW) == 2
    assert revoked.learn([of_user(1, "1"), of_token(2, "t"), of_token(3, "t")], NOW) == 1
    assert len(revoked) == 2


def test_one_that_was_revoked_again_is_kept_as_long_as_the_latest_says() -> None:
    revoked = known(of_token(1, "t", NOW), of_token(2, "t", NOW + 60), of_user(3, "1", expires_at=NOW), of_user(4, "1"))
    revoked.learn([], NOW + OUTLIVES + 1)
    assert len(revoked) == 2
    revoked.learn([], NOW + OUTLIVES + 61)
    assert len(revoked) == 1
    assert revoked.refuses(Caller("1")) == USER_REVOKED


def test_an_entry_outlives_its_tokens_by_an_hour_and_without_an_end_it_stays() -> None:
    revoked = known(of_user(1, "1", expires_at=NOW), of_token(2, "t", NOW + 60), of_user(3, "2"))
    revoked.learn([], NOW + OUTLIVES)
    assert len(revoked) == 3
    revoked.learn([], NOW + OUTLIVES + 1)
    assert revoked.refuses(Caller("1")) is None
    assert len(revoked) == 2
    revoked.learn([], NOW + 1e9)
    assert len(revoked) == 1
    assert revoked.refuses(Caller("2")) == USER_REVOKED
