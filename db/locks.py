"""Rowcast's advisory locks: pairs of a class id (the bytes "rowc") and an object id. `pg_locks` shows them so."""

from __future__ import annotations

NAMESPACE = 1919907683  # 0x726F7763, "rowc"

LEADER = 1  # held by the session of the one bridge that stamps
MIGRATE = 2  # held while `rowcast migrate` runs
