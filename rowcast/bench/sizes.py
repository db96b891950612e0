"""How much of everything: what the figures are about, and the same in small for a try."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    """Rows, streams and seconds of each measurement."""

    streams: int = 1000  # open in latency and fanout
    latency_rate: float = 100.0
    latency_seconds: float = 4.0
    latency_rates: tuple[float, ...] = (25, 50, 200, 400, 800)  # for the plot; once each
    fanout_rows: int = 30
    fanout_streams: tuple[int, ...] = (100, 300, 4000)  # for the plot; once each
    burst_rows: int = 200
    idle_streams: int = 3000  # in each round, ours and the rival's
    idle_most: int = 15_000  # on one process, once
    idle_seconds: float = 15.0
    storm_streams: int = 5000
    drain_rows: int = 200_000
    drain_streams: int = 100
    drain_more_streams: int = 1000  # once
    writers: int = 16
    writer_seconds: float = 2.5
    single_seconds: float = 0.5
    single_turns: int = 4
    claim_rows: int = 500_000
    claim_tries: int = 20
    replay_rows: int = 100_000
    help_tries: int = 5


QUICK = Sizes(
    streams=20,
    latency_rate=50,
    latency_seconds=0.4,
    latency_rates=(100,),
    fanout_rows=3,
    fanout_streams=(10,),
    burst_rows=20,
    idle_streams=50,
    idle_most=100,
    idle_seconds=0.3,
    storm_streams=50,
    drain_rows=2000,
    drain_streams=10,
    drain_more_streams=20,
    writers=4,
    writer_seconds=0.3,
    single_seconds=0.1,
    single_turns=2,
    claim_rows=2000,
    claim_tries=3,
    replay_rows=2000,
    help_tries=1,
)
