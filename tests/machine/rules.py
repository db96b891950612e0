"""The rules of the protocol that the machines keep, each of which can be switched off."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Rules:
    """All on: the protocol. The comments say what is done instead."""

    # Publishing
    publish_after_commit: bool = True  # published, then committed
    mark_after_batch: bool = True  # the mark first
    no_mark_if_refused: bool = True  # the rest and the mark go all the same
    whole_batch_again: bool = True  # after an error only what was not sent, as far as one knows
    idle_mark_is_empty: bool = True  # the heartbeat repeats the last range
    range_joins_dropped: bool = True  # a range begins where the last one that was *sent* ended
    unsendable_ends_batch: bool = True  # a row that can't be sent is left out alone
    last_seq_after_lock: bool = True  # a new leader's first mark begins where the log ended before it got the lock
    # Hearing
    holes_at_message: bool = True  # only at a mark
    marks_wait: bool = True  # a mark is handled at once, though messages wait before it
    position_from_snapshot: bool = True  # the first mark gives it, and the first after an interruption
    all_channels_confirmed: bool = True  # joined at the first confirmation
    unasked_confirmation: bool = True  # ignored
    reread_after_drop: bool = True  # a re-read that runs already will do
    overflow_rereads: bool = True  # what did not fit is dropped, and that is all
    rows_before_position: bool = True  # a re-read moves the position first
    first_live_gives_position: bool = True  # a hub without one re-reads from the end of the log
    lowest_live_gives_position: bool = True  # the first stream to go live gives it, and that is all
    believe_only_fresh: bool = True  # every snapshot is believed
    heard_on_arrival: bool = True  # what waits to be handled is not counted as heard
    snapshot_counts_as_heard: bool = True  # what a stream was shown is not known to the next read
    last_seq_not_max: bool = True  # the end of the log is max(seq)
    # Streaming
    drop_by_seq: bool = True  # whatever comes is written
    compare_with_own_last: bool = True  # with the bucket's position
    backlog_reads_on: bool = True  # goes live whether or not a re-read came between
    not_live_in_reread: bool = True  # goes live while one runs
    subscribe_first: bool = True  # the backlog, then the subscription
    hello_after_backlog: bool = True  # hello, then the backlog
    mailbox_overflow_reads_on: bool = True  # what did not fit is dropped, and that is all
    farewell_in_backlog: bool = True  # the bucket's position
    farewell_when_empty: bool = True  # the bucket's position, though rows wait
    # Stamping
    cursor_is_seq: bool = True  # read by id, from the greatest id read
    hold_user: bool = True  # later rows of a locked row's user go on
    hold_everyone: bool = True  # later rows for everyone go on
    hold_behind_everyone: bool = True  # a row for everyone that waits holds nobody back
    hold_in_next_claims: bool = True  # the next claim knows nothing of what the last left out
    held_rows_leave_room: bool = True  # rows of users left out take up the next batch
    # Leading
    fenced: bool = True  # the session that claims is not the one with the lock
    term_above_clock: bool = True  # counted only
    term_waits_for_clock: bool = True  # begun at once, though the last one ran ahead of the clock
    # Falling asleep
    listen_before_last_claim: bool = True  # LISTEN comes last
    xid_after_waiting: bool = True  # an xid, then waiting
    look_at_xmin: bool = True  # left out
    last_claim: bool = True  # left out
    claim_after_listen: bool = True  # a new LISTEN, and on as before
    each_leader_falls_asleep: bool = True  # a new leader trusts the mark it finds
    # Not needed for the promise, as these machines show
    listen_before_waiting: bool = True  # waiting, then LISTEN
    term_mark_joins: bool = True  # a term's first mark begins at its own start

    def without(self, name: str) -> Rules:
        """All these but one."""
        return replace(self, **{name: False})


ALL = Rules()
HARMLESS = ("listen_before_waiting", "term_mark_joins")
NAMES = tuple(rule.name for rule in fields(Rules) if rule.name not in HARMLESS)


def told(name: str) -> str:
    """For tables."""
    return name.replace("_", " ")
