"""A page that is slow keeps a bucket waiting for so long and no longer; a Postgres that is slow as a whole is waited for (protocol.md 4)."""

from __future__ import annotations

import pytest

from tests.waiting import until
from tests.web.bucket.scene import Scene, seqs, waiting
from tests.web.log import nobody_reads, span
from web import bucket as module


async def test_a_page_that_is_slow_again_is_left_to_the_streams_and_the_bucket_goes_on(
    quick: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await quick.joined()
    stream, starting = quick.stream(1), quick.stream(2, live=False)
    first = await quick.log.add(1)
    quick.hears(*first, span(first))
    await quick.at_rest()
    epoch = await quick.bucket.settled()
    await quick.log.add(1, 2)
    found = await quick.log.add(1, 2)
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    quick.hears(*found, span(found))
    await quick.at_rest()
    assert len(quick.clock.slept) == 2, "it was tried twice"
    assert (stream.live, stream.overflowed, stream.had) == (False, True, 0)
    assert quick.bucket.position == quick.log.end
    assert not quick.bucket.go_live(starting, epoch, 1), "its snapshot is older than what was passed over"
    later = quick.stream(1)
    batch = await quick.log.add(1)
    quick.hears(*batch, span(batch))
    await quick.at_rest()
    assert waiting(later) == seqs(batch)


async def test_a_page_that_was_slow_with_all_else_goes_out_to_everybody_once_postgres_answers(
    quick: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of streams that read for themselves are no help to a Postgres that had a bad moment."""
    await quick.joined()
    stream = quick.stream(1)
    lost, later = await quick.log.add(1), await quick.log.add(1)
    monkeypatch.setattr(module, "PATIENCE", 1.0)
    with nobody_reads(quick.log.url):
        quick.hears(span(later))
        await until(lambda: len(quick.clock.slept) == 1)
    await quick.at_rest()
    assert len(quick.clock.slept) == 1
    assert not stream.overflowed
    assert waiting(stream) == seqs(lost, later)


async def test_the_end_of_the_log_may_take_longer(quick: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no stream to read for it is all that a bucket needs, and nobody waits for it: a slow Postgres must not keep one from ever joining up."""
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    await quick.joined()
    assert not quick.clock.slept
