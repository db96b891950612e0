"""What `up` says once all is ready: what a newcomer needs next, each line ready to paste."""

from __future__ import annotations

import shlex
import shutil
import uuid
from dataclasses import dataclass

from core.user_ids import UserIdType
from rowcast.settings import flag
from rowcast.stack import Stack
from web.auth.caller import Scope


@dataclass(frozen=True, slots=True)
class _Users:
    """Two users that every server of that type of ids could have, and a row for the first."""

    first: str
    second: str
    insert: str


_USERS = {
    UserIdType.BIGINT: _Users("1", "2", "INSERT INTO notifications (user_id, message) VALUES (1, 'hello')"),
    UserIdType.TEXT: _Users("1", "2", "INSERT INTO notifications (user_id, message) VALUES ('1', 'hello')"),
    UserIdType.UUID: _Users(
        "00000000-0000-0000-0000-000000000001",
        "00000000-0000-0000-0000-000000000002",
        "INSERT INTO notifications (user_id, message) VALUES ('00000000-0000-0000-0000-000000000001', 'hello')",
    ),
}
_HOURS = 12
_SCOPES = frozenset({Scope.READ, Scope.VIEW, Scope.SEND})


def final_screen(stack: Stack, now: float) -> str:
    """The screen, with a token from `now` on (seconds since 1970) if one is needed and can be made here."""
    users = _USERS[stack.user_id_type]
    token = _token(stack, users.first, now) if stack.settings.auth == "jwt" else None
    header = "" if token is None else f"-H 'Authorization: Bearer {token}' "
    lines = (
        "",
        f"  Rowcast is up: {stack.web_url}    (Ctrl-C stops it)",
        "",
        *(_of_tokens(stack, users, token) if stack.settings.auth == "jwt" else ()),
        f"  Database  {stack.database_url}",
        f"  Watch     curl -N {header}{stack.web_url}/events/{users.first}",
        f"  Insert    {_psql(stack)} '{stack.database_url}' -c \"{users.insert}\"",
        "",
    )
    return "\n".join(lines)


def _token(stack: Stack, user: str, now: float) -> str | None:
    from rowcast.minting import Order, can_make_tokens, make_token  # noqa: PLC0415 -- what auth off has no use for

    if not can_make_tokens(stack.settings):
        return None
    return make_token(stack.settings, Order(user, _SCOPES, _HOURS * 3600.0, str(uuid.uuid4())), now)


def _of_tokens(stack: Stack, users: _Users, token: str | None) -> tuple[str, ...]:
    """How to log in, and how another user gets a token."""
    if token is None:
        return ("  Log in    with a token of whoever signs them: only its public key is known here", "")
    chosen = stack.settings.chosen("data_dir")
    where = f" {flag('data_dir')} {shlex.quote(str(stack.settings.data_dir))}" if chosen else ""
    return (
        f"  Log in    there as user {users.first}, with this token, which holds for {_HOURS} hours:",
        "",
        f"{token}",
        "",
        f"  Others    rowcast token {users.second}{where}",
    )


def _psql(stack: Stack) -> str:
    return shutil.which("psql") or (stack.postgres and _bundled_psql(stack)) or "psql"


def _bundled_psql(stack: Stack) -> str:
    from rowcast.embedded.binaries import postgres_programs  # noqa: PLC0415 -- an extra

    return str(postgres_programs(stack.possession.folder, None) / "psql")
