"""I8: how soon everything is as it should be once a fault is over, and whether /readyz told the truth meanwhile. Pure functions."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tests.chaos.evidence import Evidence, Violation, shortened
from tests.chaos.records import Client, Got, Probe
from tests.chaos.starvation import NAME

HEALS_WITHIN = 10.0
# A web process that says that it is ready: so late may a row be, and no later. It hears no mark for 3 s before it says otherwise.
READY_MEANS = 6.0
# Seconds after which /readyz tells of what can't be reached; with what the machine adds when it is busy.
SEES_WITHIN = 5.0
# Seconds that an answer may take, and a process to begin.
ANSWERS, WAKES = 2.5, 5.0

Span: TypeAlias = tuple[float, float]
Due: TypeAlias = tuple[float, str, float]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A row that reached a client, so long after the last thing that excused its lateness, which ended at `excused`."""

    client: str
    key: str
    excused: float
    late: float


def merged(spans: Iterable[Span]) -> list[Span]:
    """The same stretches of time, overlapping ones made one."""
    result: list[Span] = []
    for start, end in sorted(spans):
        if result and start <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((start, end))
    return result


def excused_until(moment: float, spans: Sequence[Span], within: float = HEALS_WITHIN) -> float:
    """From when on delivery of what was committed at `moment` must take at most `within` seconds, given merged stretches of trouble.

    Trouble that begins before those seconds are over is waited for too.
    """
    at = bisect_left(spans, moment, key=lambda span: span[1])
    while at < len(spans) and spans[at][0] <= moment + within:
        moment = max(moment, spans[at][1])
        at += 1
    return moment


def arrivals(evidence: Evidence) -> list[Arrival]:
    """How late every row was for every client that was there, faults, locks held on rows and the client's own absences taken out."""
    trouble = [(window.start, window.end) for window in evidence.windows]
    trouble += [(hold.start, hold.end) for hold in evidence.holds]
    found = []
    for client in evidence.clients:
        spans = merged(trouble + _absences(client))
        got = {event.key: event.at for event in reversed(client.events("message"))}
        for key, at in got.items():
            statement = evidence.insert_of.get(key)
            if statement is not None:
                excused = excused_until(max(statement.ended, spans[0][1] if spans else 0), spans)
                found.append(Arrival(client.name, key, excused, max(at - excused, 0.0)))
    return found


def _absences(client: Client) -> list[Span]:
    """From leaving on purpose (or the beginning of time) to being greeted."""
    gone: float | None = float("-inf")
    spans = []
    for one in client.story:
        if isinstance(one, Got):
            if gone is not None and one.kind in ("hello", "reset"):
                spans.append((gone, one.at))
                gone = None
        elif one.what == "left":
            gone = one.at
    return spans if gone is None else [*spans, (gone, float("inf"))]


def alive(evidence: Evidence) -> list[Violation]:
    """Every row reaches every client that is there within 10 s of its commit, or of the end of whatever is in the way."""
    late = sorted((one for one in arrivals(evidence) if one.late > HEALS_WITHIN), key=lambda one: -one.late)
    told = [f"{one.key} reached {one.client} {one.late:.1f} s late" for one in late]
    found = [Violation("I8 liveness", shortened(told))] if told else []
    never = [client.name for client in evidence.clients if not client.events("hello")]
    return found + ([Violation("I8 liveness", f"never greeted: {shortened(never)}")] if never else [])


def heals(evidence: Evidence) -> dict[str, float]:
    """For each kind of fault the longest time from its end, where no other still went on, to a delivery that it had held up.

    A machine that was too busy counts here.
    """
    names = {window.end: window.name for window in evidence.windows if window.name != NAME}
    faults = [(window.start, window.end) for window in evidence.windows if window.name != NAME]
    found: dict[str, float] = {}
    for client in evidence.clients:
        spans = merged(faults + _absences(client))
        for event in client.events("message"):
            statement = evidence.insert_of.get(event.key)
            at = bisect_right(spans, event.at, key=lambda span: span[0]) - 1
            end = spans[at][1] if at >= 0 else float("inf")
            if statement is not None and statement.ended < end < event.at and end in names:
                found[names[end]] = max(found.get(names[end], 0.0), event.at - end)
    return found


def healthy(evidence: Evidence, awake: Mapping[str, Sequence[Span]]) -> list[Violation]:
    """/healthz is 200 whenever its process can answer: `awake` says when each one could, but not what befell it at a fail point."""
    found = []
    unknown = merged(
        (window.start, window.end + WAKES) for window in evidence.windows if window.name in ("crash_at", NAME)
    )
    for url, spans in awake.items():
        wrong = [
            f"{probe.health} at {probe.at:.1f}"
            for probe in evidence.probes
            if probe.url == url and probe.health != 200
            if any(start <= probe.at and probe.at + ANSWERS <= end for start, end in spans)
            and not _touches(probe.at, probe.at + ANSWERS, unknown)
        ]
        if wrong:
            found.append(Violation("I8 /healthz", f"{url}: {shortened(wrong)}"))
    return found


def readiness_is_true(evidence: Evidence, *, means: float = READY_MEANS) -> list[Violation]:
    """While a web process says that it is ready, what is committed reaches the clients on it in seconds."""
    found = []
    others = [(window.start, window.end) for window in evidence.windows if window.name == NAME]
    holds = merged([*((hold.start, hold.end) for hold in evidence.holds), *others])
    ready = {
        url: _ready_spans([probe for probe in evidence.probes if probe.url == url])
        for url in sorted({probe.url for probe in evidence.probes})
    }
    for client in evidence.clients:
        due = _due_by_commit(evidence, client)
        for url, spans in ready.items():
            wrong = [
                f"{key} took {took:.1f} s"
                for start, end in _connected(client, url)
                for key, committed, took in _slow(due, start, end, means)
                if _within(committed, committed + means, spans) and not _touches(committed, committed + took, holds)
            ]
            if wrong:
                found.append(Violation("I8 /readyz", f"{url} said ready, {client.name}: {shortened(wrong)}"))
    return found


def _due_by_commit(evidence: Evidence, client: Client) -> list[Due]:
    """(when committed, key, when it came or for ever) of the rows due to it, by the time of their commits."""
    got = {event.key: event.at for event in reversed(client.events("message"))}
    known = ((row, evidence.insert_of.get(row.key)) for row in evidence.due(client))
    return sorted(
        (statement.ended, row.key, got.get(row.key, float("inf")))
        for row, statement in known
        if statement is not None and statement.outcome == "committed"
    )


def unready_in_the_dark(evidence: Evidence) -> list[Violation]:
    """A web process that reaches no Postgres or no Redis does not say for long that it is ready."""
    found = []
    for window in evidence.windows:
        wrong = [
            f"{probe.url} at {probe.at:.1f}"
            for probe in evidence.probes
            if probe.url in window.dark and probe.ready == 200 and window.broken + SEES_WITHIN <= probe.at
            if probe.at + ANSWERS <= window.end
        ]
        if wrong:
            found.append(
                Violation("I8 /readyz", f"ready in {window.name} since {window.broken:.1f}: {shortened(wrong)}")
            )
    return found


def _ready_spans(probes: Sequence[Probe]) -> list[Span]:
    """Stretches in which every answer was 200."""
    spans: list[Span] = []
    start: float | None = None
    for before, probe in zip([None, *probes], [*probes, None], strict=False):
        if probe is not None and probe.ready == 200:
            start = probe.at if start is None else start
        elif start is not None and before is not None:
            spans.append((start, before.at))
            start = None
    return spans


def _connected(client: Client, url: str) -> list[Span]:
    """When its stream was open on that web process, from the greeting on."""
    spans: list[Span] = []
    on = ""
    start: float | None = None
    for one in client.story:
        if isinstance(one, Got):
            if one.kind == "hello" and on == url:
                start = one.at
        elif one.what == "opened":
            on = one.url
        elif one.what in ("ended", "left"):
            if start is not None:
                spans.append((start, one.at))
            start, on = None, ""
    return spans


def _slow(due: Sequence[Due], start: float, end: float, means: float) -> list[tuple[str, float, float]]:
    """Rows committed during this connection that took too long, or did not come while it lasted: key, when committed, seconds."""
    first, beyond = bisect_left(due, (start,)), bisect_right(due, (end - means,))
    return [
        (key, committed, min(came, end) - committed)
        for committed, key, came in due[first:beyond]
        if min(came, end) - committed > means
    ]


def _within(start: float, end: float, spans: Sequence[Span]) -> bool:
    at = bisect_right(spans, start, key=lambda span: span[0]) - 1
    return at >= 0 and end <= spans[at][1]


def _touches(start: float, end: float, spans: Sequence[Span]) -> bool:
    return any(one <= end and start <= two for one, two in spans)
