"""The bell: rung for every NOTIFY and every new LISTEN, heard by the sequencer. Rings that come together count once."""

from __future__ import annotations

import asyncio

from core.clock import happens


class Bell:
    """`ring` may be called any number of times; `wait` returns once for all of them."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self.connected = False  # is there a LISTEN that would hear a writer ring?

    def ring(self) -> None:
        """Somebody inserted, or may have."""
        self._rung.set()

    def take(self) -> bool:
        """Was it rung since the last time? From now on only later rings count."""
        rung = self._rung.is_set()
        self._rung.clear()
        return rung

    @property
    def rung(self) -> bool:
        """Has it rung and not been taken?"""
        return self._rung.is_set()

    async def wait(self, timeout: float) -> bool:
        """Wait until it rings; False if `timeout` seconds passed first."""
        return await happens(self._rung, timeout)
