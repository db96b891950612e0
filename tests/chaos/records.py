"""What is written down while the rig runs, and read again by the judge: one JSON object a line, times in seconds of CLOCK_MONOTONIC.

A notification is known by its `key`: writers give each row one of its own. Ids are no names here, because a failover that loses the
end of the log may give an id to two rows.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, TypeAlias

Outcome: TypeAlias = Literal["committed", "rolled back", "unknown"]


@dataclass(frozen=True, slots=True)
class Statement:
    """One INSERT of a writer: (key, user or None for everyone) of each row, when it was sent, and how its transaction ended, when."""

    writer: str
    kind: str
    began: float
    ended: float
    outcome: Outcome
    rows: list[tuple[str, int | None]]


@dataclass(frozen=True, slots=True)
class Timing:
    """One row and its commit: when it was sent, and how long Postgres took."""

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """A statement of a transaction begun at `began` failed. `postgres`: by an error that says that the server itself was away."""

    began: float
    at: float
    writer: str
    kind: str
    postgres: bool
    error: str


@dataclass(frozen=True, slots=True)
class Hold:
    """For so long a transaction held the lock of a row that was perhaps not yet relayed: a documented cause of delay."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Got:
    """One event of a stream. `content` is a digest of all that a row says; `kind` is message, hello or reset (`reason` says why)."""

    at: float
    kind: str
    seq: int
    key: str = ""
    user: int | None = None
    content: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Turn:
    """Something in a client's life: opened (of `url`, with that Last-Event-ID), refused, ended, left or leaked (what it must not see)."""

    at: float
    what: str
    url: str = ""
    detail: str = ""


@dataclass(slots=True)
class Client:
    """One client: whose stream, from where, and all that happened to it, in order."""

    name: str
    user: int
    since: str
    canary: bool = False
    story: list[Got | Turn] = field(default_factory=list)

    def events(self, kind: str) -> list[Got]:
        return [one for one in self.story if isinstance(one, Got) and one.kind == kind]

    def turns(self, *whats: str) -> list[Turn]:
        return [one for one in self.story if isinstance(one, Turn) and one.what in whats]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table, read at the end."""

    id: int
    key: str
    user: int | None
    seq: int | None
    viewed: bool
    content: str


@dataclass(frozen=True, slots=True)
class Window:
    """A fault, from its beginning to when all was put right again; it was done at `broken`.

    `dark`: the URLs of web processes that then reached no Postgres or no Redis.
    """

    name: str
    start: float
    broken: float
    end: float
    postgres: bool = False  # may it make writers fail?
    forgets: bool = False  # may it lose the end of what was committed?
    dark: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Probe:
    """What one web process answered to /readyz and /healthz; None: nothing."""

    at: float
    url: str
    ready: int | None
    health: int | None


@dataclass(frozen=True, slots=True)
class Sample:
    """What was held on to at one moment: see `holdings`."""

    at: float
    held: dict[str, float]


Line: TypeAlias = Statement | Timing | Failure | Hold | Got | Turn | Row | Window | Probe | Sample
_KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (Statement, Timing, Failure, Hold, Got, Turn, Row, Window, Probe, Sample)
}


class Notebook:
    """A file of records, each in it as soon as it is noted."""

    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open("a", buffering=1, encoding="ascii")

    def note(self, line: Line, **more: object) -> None:
        self._file.write(json.dumps({"is": type(line).__name__, **asdict(line), **more}) + "\n")

    def __enter__(self) -> Notebook:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def read(path: Path) -> Iterator[tuple[Line, dict[str, Any]]]:
    """The records of a file, each with what else was noted of it."""
    with path.open(encoding="ascii") as file:
        for text in file:
            found = json.loads(text)
            kind = _KINDS[found.pop("is")]
            names = kind.__dataclass_fields__.keys()
            values = {name: found.pop(name) for name in list(found) if name in names}
            if "rows" in values:
                values["rows"] = [(key, user) for key, user in values["rows"]]
            if "dark" in values:
                values["dark"] = tuple(values["dark"])
            yield kind(**values), found


def content_of(fields: Iterable[Any]) -> str:
    """A digest of what a row says: id, user, key, message, channel type, data."""
    return hashlib.sha256(json.dumps(list(fields), sort_keys=True).encode()).hexdigest()[:24]


def now() -> float:
    """The same clock in every process of this machine."""
    return time.monotonic()
