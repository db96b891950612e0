"""What can be measured, in the order of a full run; apart, so that listing it imports nothing."""

from __future__ import annotations

MEASUREMENTS = ("latency", "writers", "drain", "fanout", "idle", "storm", "claims", "replay", "startup")
