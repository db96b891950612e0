"""Rules of the protocol, each with the edit that breaks it: what the walks are to find.

An edit replaces a text that stands once in its file, in memory. Most are in the code as it is; those of SQL are in the modelled Postgres.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from tests.model.broken import with_texts
from tests.model.faults import KINDS
from tests.parts import ROOT

BUCKET, STREAM = "web/bucket.py", "web/stream.py"
PUBLISHER, RELAY, SUBSCRIPTION = "fanout/publisher.py", "bridge/relay.py", "fanout/subscription.py"
POSTGRES, CLAIM = "tests/model/postgres.py", "tests/model/claim.py"


@dataclass(frozen=True)
class Rule:
    """`edits`: (file, text, what stands there instead); `kinds` of faults in its walks, none: as each walk draws them."""

    name: str
    edits: tuple[tuple[str, str, str], ...]
    kinds: tuple[str, ...] = ()

    @property
    def faults(self) -> dict[str, float] | None:
        """For `walk`."""
        return {kind: 4 * KINDS[kind] for kind in self.kinds} or None

    def texts(self) -> dict[Path, str]:
        """The files with the rule broken; raises ValueError for a text that is not there once."""
        texts: dict[Path, str] = {}
        for file, text, instead in self.edits:
            whole = texts.get(Path(file)) or (ROOT / file).read_text("utf-8")
            if whole.count(text) != 1:
                raise ValueError(f"{self.name}: {text!r} stands {whole.count(text)} times in {file}")
            texts[Path(file)] = whole.replace(text, instead)
        return texts

    @contextmanager
    def broken(self) -> Iterator[ModuleType]:
        """`tests.model.walk` over the broken code."""
        with with_texts(self.texts()) as walk:
            yield walk


_MARK = 'publish.append((b"SPUBLISH", self._mark_channel, encode_mark(batch.span)))'
_MULTI = 'await connection.send([(b"MULTI",), *publish, (b"EXEC",)])'
_ANSWERS = "*_, answers = await connection.receive_many(len(publish) + 2, REPLY_TIMEOUT)"

RULES = (
    Rule("a mark goes after its batch", ((PUBLISHER, _MARK, _MARK.replace("append(", "insert(0, ")),)),
    Rule(
        "no mark if a message was refused",
        (
            (PUBLISHER, _MULTI, "await connection.send(publish)"),
            (PUBLISHER, _ANSWERS, "answers = await connection.receive_many(len(publish), REPLY_TIMEOUT)"),
        ),
        ("refuse",),
    ),
    Rule(
        "a failed batch goes again whole",
        (
            (
                PUBLISHER,
                "for channel, payload in batch.messages]\n",
                "for channel, payload in batch.messages if batch.tries < 2]\n",
            ),
        ),
        ("refuse",),
    ),
    Rule(
        "an idle mark repeats no range",
        (
            (
                PUBLISHER,
                "        self._put(Batch(Range(end, end), []))\n",
                "        self._put(Batch(Range(getattr(self, '_sent', end), end), []))\n",
            ),
            (
                PUBLISHER,
                "        await self._send(connection, batch)\n",
                "        await self._send(connection, batch)\n        self._sent = batch.span.start\n",
            ),
        ),
        ("cut", "unplug", "browser"),
    ),
    Rule(
        "the leader beats every second",
        (("bridge/sequencer.py", "            self._outlet.alive(self._stamper.end)\n", ""),),
    ),
    Rule(
        "a row that can't be sent ends its batch",
        ((RELAY, "            pile.ended = True\n            return\n", "            return\n"),),
    ),
    Rule(
        "holes are found at the message",
        (
            (
                BUCKET,
                "if position is None or item.start > position:",
                "if position is None or (isinstance(item, Mark) and item.start > position):",
            ),
        ),
    ),
    Rule(
        "marks wait behind messages",
        (
            (
                BUCKET,
                "            self._count_life(item)\n",
                "            self._count_life(item)\n            if self.position is not None and item.start <= self.position < item.end:\n"
                "                self.position = item.end\n",
            ),
        ),
    ),
    Rule(
        "no position comes from a mark alone",
        (
            (
                BUCKET,
                "        self._life = self._clock.now()\n        self._want_reread()\n",
                "        self._life = self._clock.now()\n        self._wake.set()\n",
            ),
            (
                BUCKET,
                "        self._mark_heard = None\n        self.missed()\n",
                "        self._mark_heard = None\n        self.position = None\n",
            ),
            (
                BUCKET,
                "        item, size = self._inbox[0]\n",
                "        item, size = self._inbox[0]\n        if self.position is None and isinstance(item, Mark):\n"
                "            self.position = item.end\n",
            ),
        ),
    ),
    Rule(
        "a stream compares with its own last",
        ((STREAM, "mailbox.take_above(self._last)", "mailbox.take_above(max(self._last, bucket.position or 0))"),),
    ),
    Rule(
        "backlog streams read on after a re-read",
        (
            (
                BUCKET,
                "if self._rereading or self.epoch != epoch or mailbox.overflowed:",
                "if self._rereading or mailbox.overflowed:",
            ),
            (BUCKET, "            if not mailbox.live:\n                mailbox.begin_anew()\n", "            pass\n"),
        ),
        ("cut", "unplug", "browser"),
    ),
    Rule(
        "no stream goes live during a re-read",
        (
            (
                BUCKET,
                "if self._rereading or self.epoch != epoch or mailbox.overflowed:",
                "if self.epoch != epoch or mailbox.overflowed:",
            ),
        ),
        ("cut", "unplug", "browser"),
    ),
    Rule(
        "what is not above the last is dropped",
        (("web/mailbox.py", "            if delivery.seq > last:\n", "            if True:\n"),),
    ),
    Rule(
        "an unasked confirmation is an interruption",
        (
            (
                SUBSCRIPTION,
                '            case [b"sunsubscribe", channel, _] if self._answered',
                '            case [b"ssubscribe", _, _]:\n                pass\n            case [b"sunsubscribe", channel, _] if self._answered',
            ),
        ),
        ("unplug",),
    ),
    Rule(
        "hello comes after the backlog",
        (
            (
                STREAM,
                "                while not mailbox.ending:\n",
                "                yield self._at(bucket.known or 1, sse.hello(bucket.known or 1))\n                while not mailbox.ending:\n",
            ),
        ),
        ("browser",),
    ),
    Rule(
        "a farewell in the backlog is the last id written",
        ((STREAM, "        if not mailbox.live:\n            return self._written\n", ""),),
        ("stop", "browser"),
    ),
    Rule(
        "who leads, claims",
        ((POSTGRES, "return [(self.leader is session,)]", "return [(True,)]"),),
    ),
    Rule(
        "terms begin above the clock",
        (
            (
                POSTGRES,
                "above // TERM, int(self.now())",
                "above // TERM",
            ),
        ),
        ("fail over",),
    ),
    Rule(
        "last_seq, not max(seq)",
        (
            (
                POSTGRES,
                "        return [(self.state.last_seq, self.state.pruned_seq,",
                "        return [(max([0, *map(_seq, self.state.rows.values())]), self.state.pruned_seq,",
            ),
        ),
        ("delete", "browser"),
    ),
    Rule(
        "a locked row holds back later rows of its user",
        ((CLAIM, "hold_users: bool = True", "hold_users: bool = False"),),
        ("lock",),
    ),
    Rule(
        "a locked row holds back later rows for everyone",
        ((CLAIM, "hold_everyone: bool = True", "hold_everyone: bool = False"),),
        ("lock",),
    ),
    Rule(
        "a row for everyone that waits holds back all",
        ((CLAIM, "barrier: bool = True", "barrier: bool = False"),),
        ("lock",),
    ),
    Rule(
        "rows are numbered oldest id first",
        (
            (
                CLAIM,
                "    for row in candidates:\n        if row.id in locked",
                "    for row in reversed(candidates):\n        if row.id in locked",
            ),
        ),
    ),
    Rule(
        "no snapshot is done with while a row of it is held back",
        (("db/outbox.py", "    if full or held:", "    if full:"),),
        ("lock",),
    ),
    Rule(
        "rows of transactions that ran in the snapshot are looked at",
        ((POSTGRES, ' or str(born) in running.split(",")', ""),),
    ),
    Rule(
        "who has a row in a backlog does not pass it",
        (("db/backlog.py", " if hashed not in known]", "]"),),
    ),
    Rule(
        "nobody passes a row for everyone in a backlog",
        ((POSTGRES, "None if EVERYONE in waiting else", ""),),
    ),
    Rule(
        "nobody passes a row for everyone that came after a backlog",
        ((POSTGRES, "row for row in rows if row.id < first and", "row for row in rows if"),),
    ),
    Rule(
        "what was pruned is told in a re-read",
        ((BUCKET, "            if page.pruned_seq > after or", "            if"),),
        ("prune", "cut", "unplug"),
    ),
    Rule(
        "what takes a bucket too long is left to its streams",
        (
            (
                BUCKET,
                "            if self._too_much:\n                self._leave_to_streams()\n",
                "            if self._too_much:\n",
            ),
        ),
    ),
)
