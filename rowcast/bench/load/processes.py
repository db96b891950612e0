"""Processes with a pipe to each; gone when the block ends, and by themselves when the parent is."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

_END_WITHIN = 5.0


@contextmanager
def spawned(target: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> Iterator[list[Connection]]:
    """One process for each tuple, running target(pipe, *tuple), which must end when its pipe does."""
    context = multiprocessing.get_context("spawn")
    started, pipes = [], []
    try:
        for given in arguments:
            ours, theirs = context.Pipe()
            process = context.Process(target=target, args=(theirs, *given), daemon=True)
            process.start()
            theirs.close()
            started.append(process)
            pipes.append(ours)
        yield pipes
    finally:
        for pipe in pipes:
            pipe.close()
        for process in started:
            process.join(_END_WITHIN)
            process.kill()
            process.join()
            process.close()
