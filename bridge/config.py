"""What the bridge needs to know, in one frozen object."""

from __future__ import annotations

from dataclasses import dataclass

from db.pruning import Rules


@dataclass(frozen=True, slots=True)
class BridgeConfig:
    """`database_url`; `poll_interval` in seconds: how often to look for rows that no doorbell told of; `batch`: rows a claim stamps;
    `retention`: what may go of the old end of the log, None: nothing.
    """

    database_url: str
    poll_interval: float = 1.0
    batch: int = 1000
    retention: Rules | None = None
