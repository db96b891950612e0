"""What is explored: each configuration with its usual and its larger bounds; and in which of them each rule is found broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from tests.machine.delivery import Delivery
from tests.machine.explore import Machine
from tests.machine.leading import Leading
from tests.machine.nap import Sleep
from tests.machine.rules import Rules
from tests.machine.stamping import Stamping
from tests.machine.wires import Bounds

AnyMachine: TypeAlias = Machine[Any]


@dataclass(frozen=True)
class Size:
    """Bounds in words, and the machine within them."""

    bounds: str
    build: Callable[[Rules], AnyMachine]


@dataclass(frozen=True)
class Configuration:
    """`usual` takes a second or two, `larger` up to half a minute."""

    name: str
    usual: Size
    larger: Size


def _delivery(batches: str, streams: str, kinds: str, faults: int, hub: str = "at 0") -> Size:
    """Users of the rows, batch by batch; streams, in capitals if live from the start; the faults, and how many at most."""

    def build(rules: Rules) -> AnyMachine:
        return Delivery(Bounds(tuple(batches.split()), streams, frozenset(kinds.split()), faults, hub, rules))

    at = "" if hub == "at 0" else f"; hub {hub}"
    some = f"{faults} of {kinds.replace(' ', ', ')}" if faults else "no faults"
    return Size(f"rows {batches}; streams {streams}{at}; {some}", build)


def _stamping(transactions: str, batch: int, locks: int) -> Size:
    return Size(
        f"transactions {transactions}; batches of {batch}; locks: {locks}",
        lambda rules: Stamping(tuple(transactions.split()), batch, locks, rules),
    )


def _leading(rows: int, faults: int, seconds: int) -> Size:
    return Size(
        f"rows: {rows}; faults: {faults}; seconds: {seconds}",
        lambda rules: Leading(rows, faults, seconds, rules=rules),
    )


def _sleep(writers: int, faults: int) -> Size:
    return Size(f"writers: {writers}; faults: {faults}", lambda rules: Sleep(writers, faults, rules))


_PUBLISH = "refuse unknown held drop beat unsendable"
_HEAR = "cut hidden inbox mailbox look drop"
_START = "cut mailbox client end look inbox"

CONFIGURATIONS = (
    Configuration("publishing", _delivery("uu u", "U", _PUBLISH, 2), _delivery("uu u u", "U", _PUBLISH, 3)),
    Configuration(
        "two leaders",
        _delivery("u u", "U", "takeover held drop beat", 2),
        _delivery("u uw", "U", "takeover held cut", 3),
    ),
    Configuration(
        "hearing", _delivery("u u", "U", "cut hidden inbox mailbox look", 2), _delivery("u u", "U", _HEAR, 3)
    ),
    Configuration("a stream starts", _delivery("v", "Uv", "cut inbox end", 1), _delivery("v ue", "Uv", _START, 1)),
    Configuration(
        "a stream returns",
        _delivery("u", "u", "cut mailbox client end", 2),
        _delivery("u u", "u", "client end mailbox cut", 2),
    ),
    Configuration(
        "a web process starts",
        _delivery("u", "u", "cut drop", 1, "away"),
        _delivery("u u", "u", "cut drop", 1, "away"),
    ),
    Configuration("two streams start", _delivery("e", "uv", "", 0, "joined"), _delivery("e", "uv", "", 0, "away")),
    Configuration(
        "rows deleted",
        _delivery("u", "U", "delete client takeover end", 3),
        _delivery("u u", "U", "delete client takeover end", 3),
    ),
    Configuration(
        "old snapshots", _delivery("u u", "u", "stale client drop", 2), _delivery("u u", "Uu", "stale client drop", 2)
    ),
    Configuration("stamping", _stamping("ue u", 2, 1), _stamping("uv e u", 2, 1)),
    Configuration("small claims", _stamping("u v", 1, 1), _stamping("u v e", 1, 2)),
    Configuration("leading", _leading(2, 2, 3), _leading(2, 2, 5)),
    Configuration("falling asleep", _sleep(2, 1), _sleep(3, 2)),
)

# In which configuration each rule is found broken: where that takes the fewest states.
BROKEN_IN = {
    "publish_after_commit": "publishing",
    "mark_after_batch": "publishing",
    "no_mark_if_refused": "publishing",
    "whole_batch_again": "publishing",
    "idle_mark_is_empty": "publishing",
    "range_joins_dropped": "publishing",
    "unsendable_ends_batch": "publishing",
    "last_seq_after_lock": "two leaders",
    "holes_at_message": "publishing",
    "marks_wait": "hearing",
    "position_from_snapshot": "hearing",
    "all_channels_confirmed": "hearing",
    "unasked_confirmation": "hearing",
    "reread_after_drop": "hearing",
    "overflow_rereads": "hearing",
    "rows_before_position": "rows deleted",
    "first_live_gives_position": "a web process starts",
    "lowest_live_gives_position": "two streams start",
    "believe_only_fresh": "old snapshots",
    "heard_on_arrival": "old snapshots",
    "snapshot_counts_as_heard": "old snapshots",
    "last_seq_not_max": "rows deleted",
    "drop_by_seq": "hearing",
    "compare_with_own_last": "hearing",
    "backlog_reads_on": "a stream starts",
    "not_live_in_reread": "a stream starts",
    "subscribe_first": "a stream starts",
    "hello_after_backlog": "a stream starts",
    "mailbox_overflow_reads_on": "hearing",
    "farewell_in_backlog": "a stream starts",
    "farewell_when_empty": "rows deleted",
    "cursor_is_seq": "small claims",
    "hold_user": "stamping",
    "hold_everyone": "stamping",
    "hold_behind_everyone": "stamping",
    "hold_in_next_claims": "stamping",
    "held_rows_leave_room": "small claims",
    "fenced": "leading",
    "term_above_clock": "leading",
    "term_waits_for_clock": "leading",
    "listen_before_last_claim": "falling asleep",
    "xid_after_waiting": "falling asleep",
    "look_at_xmin": "falling asleep",
    "last_claim": "falling asleep",
    "claim_after_listen": "falling asleep",
    "each_leader_falls_asleep": "falling asleep",
}


def named(name: str) -> Configuration:
    """The configuration of this name."""
    return next(configuration for configuration in CONFIGURATIONS if configuration.name == name)
