"""When is it safe to sleep? The decision alone, without its statements.

A writer rings only if it sees *waiting*. So before sleeping, every transaction that may have seen *busy* must have ended and its
rows must have been claimed:

    1. set *waiting*                            `waiting_set`
    2. take a transaction id of our own, B      `own_xid_taken`
    3. claim; look at the oldest running transaction, until it is above B     `looked`
    4. claim once more
    5. sleep                                    `settled`

A writer got its transaction id with its insert, before its look at the mark. So one that saw *busy* has an id below B, and once
nothing below B runs any more, step 4 finds its row. If an old transaction keeps running, the bridge listens and polls meanwhile.
"""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """How far falling asleep has got."""

    BUSY = auto()  # writers do not ring
    WAITING = auto()  # writers ring, but older ones may not have
    LAST_CLAIM = auto()  # nobody is left who did not ring; their rows may not be claimed yet
    SETTLED = auto()  # whatever commits from now on rings


class Nap:
    """Follows the steps; one object for one term of leadership."""

    def __init__(self) -> None:
        self.state = State.BUSY
        self._own_xid = 0

    def woke_busy(self) -> None:
        """The mark is *busy* again."""
        self.state = State.BUSY

    def waiting_set(self, own_xid: int) -> None:
        """The mark is *waiting*, and `own_xid` was taken after that."""
        self._own_xid = own_xid
        self.state = State.WAITING

    def looked(self, oldest_running: int) -> bool:
        """After a claim: the oldest transaction that a new snapshot sees running. True if the last claim is due."""
        if self.state is State.WAITING and oldest_running > self._own_xid:
            self.state = State.LAST_CLAIM
        return self.state is State.LAST_CLAIM

    def claimed_all(self) -> None:
        """A claim begun after the last look left nothing that could be stamped."""
        if self.state is State.LAST_CLAIM:
            self.state = State.SETTLED
