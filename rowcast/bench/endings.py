"""Ctrl-C and SIGTERM end a benchmark once: whoever is impatient must not keep it from removing what it made."""

from __future__ import annotations

import signal

_ENDING = (signal.SIGINT, signal.SIGTERM)


def end_on_signals() -> None:
    """The first of them raises KeyboardInterrupt; after that all are ignored."""
    for number in _ENDING:
        signal.signal(number, _end)


def ignore_signals() -> None:
    """From here on they wait for the end, which is near."""
    for number in _ENDING:
        signal.signal(number, signal.SIG_IGN)


def _end(*_: object) -> None:
    ignore_signals()
    raise KeyboardInterrupt
