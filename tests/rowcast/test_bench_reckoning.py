"""What `rowcast bench` makes of times: exact values."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rowcast.bench.figures import Figure, at_least, at_most
from rowcast.bench.load.wire import EVENT, Stream, frame, request
from rowcast.bench.reckoning import curve, differences, due_times, median, milliseconds, percentile, ratios
from rowcast.bench.tables import goal, number, spread, verdict
from web import sse


def test_a_percentile_is_a_value_that_was_measured() -> None:
    hundred = [float(value) for value in range(100, 0, -1)]
    assert [percentile(hundred, share) for share in (0, 0.5, 0.501, 0.99, 0.991, 1)] == [1, 50, 51, 99, 100, 100]
    assert percentile([3.0], 0.99) == 3.0
    assert math.isnan(percentile([], 0.5))


def test_rows_are_due_at_an_even_pace_whatever_becomes_of_them() -> None:
    assert due_times(5_000, 100, 4) == [5_000, 10_005_000, 20_005_000, 30_005_000]
    assert due_times(0, 3, 4) == [0, 333_333_333, 666_666_667, 1_000_000_000], "no error adds up"


def test_a_row_that_waited_for_others_has_waited_since_it_was_due() -> None:
    """Three rows 10 ms apart; the first held the only session for 30 ms. Each stamp is when its row was due."""
    came = zip(due_times(0, 100, 3), (30_000_000, 31_000_000, 32_000_000), strict=True)
    assert milliseconds(came) == [30.0, 21.0, 12.0]


def test_ratios_and_differences_are_taken_within_a_round() -> None:
    assert ratios([2.0, 9.0, 1.0], [1.0, 3.0, 0.0])[:2] == [2.0, 3.0]
    assert math.isnan(ratios([1.0], [0.0])[0])
    assert differences([5.0, 3.0], [2.0, 4.0]) == [3.0, -1.0]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0], [])


def test_a_distribution_goes_from_the_half_to_the_slowest() -> None:
    drawn = curve([float(value) for value in range(1, 1001)], points=3)
    assert drawn[0] == (0.5, 500.0)
    assert drawn[-1][0] == pytest.approx(0.001)
    assert drawn[-1][1] == 999.0
    assert curve([]) == []
    assert curve([4.0]) == [(1.0, 4.0)]


def test_a_figure_is_judged_by_its_median() -> None:
    figure = Figure("rows", "rows/s", (9.0, 12.0, 10.0), at_least(10))
    assert (figure.median, figure.low, figure.high, figure.reached) == (10.0, 9.0, 12.0, True)
    assert (spread(figure), goal(figure), verdict(figure)) == ("10 rows/s (9 to 12)", "≥ 10 rows/s", "reached")
    short = Figure("time", "ms", (3.5,), at_most(3))
    assert (spread(short), goal(short), verdict(short)) == ("3.5 ms", "≤ 3 ms", "short of it")
    assert Figure("bare", "ms", (1.0,)).reached is None
    assert Figure("none", "ms", (math.nan,), at_most(3)).reached is False, "what was not measured was not reached"
    assert math.isnan(median([]))


def test_numbers_have_three_digits_that_count() -> None:
    values = (0.0123456, 1.15, 12.345, 250, 999.6, 25_000, 1_234_567.8, math.nan)
    assert [number(value) for value in values] == [
        "0.0123",
        "1.15",
        "12.3",
        "250",
        "1000",
        "25,000",
        "1,234,568",
        "\N{EN DASH}",
    ]


# --- what a reader sees in the bytes of a stream

HELLO = sse.hello(217468800000007)
ROW = frame(7, "1234567890123", 1)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in pairwise(edges)]


@given(
    st.lists(st.sampled_from([ROW, HELLO, sse.HEARTBEAT, sse.position(9), sse.retry(3000)])),
    st.lists(st.integers(0, 10_000)),
)
def test_events_are_counted_once_wherever_the_bytes_were_cut(frames: list[bytes], cuts: list[int]) -> None:
    data = b"HTTP/1.1 200 OK\r\n\r\n" + b"".join(b"%x\r\n%s\r\n" % (len(one), one) for one in frames)
    counting, stamping = Stream(), Stream()
    parts = pieces(data, cuts)
    assert sum(map(counting.feed, parts)) == frames.count(ROW)
    assert [stamp for part in parts for stamp in stamping.stamps(part)] == [1234567890123] * frames.count(ROW)
    assert counting.greeted is stamping.greeted is (HELLO in frames)
    assert counting.last_id == (b"217468800000007" if HELLO in frames else b"")


def test_rivals_write_the_bytes_that_rowcast_writes() -> None:
    body = (
        '{"id":1,"user_id":7,"key":null,"message":"hello","channel_type":"notifications_channel","data":null,'
        '"timestamp":"2026-01-31T12:00:00.123Z"}'
    )
    assert frame(7, "hello", 1) == sse.frame(body, seq=217468800000001)
    assert frame(None, "hello", 1).count(EVENT) == 1


def test_a_stream_is_asked_for_as_a_browser_does() -> None:
    assert b"\r\nLast-Event-ID: 12\r\n\r\n" in request("/events/1", "127.0.0.1:80", b"12")
    assert b"Last-Event-ID" not in request("/events/1", "127.0.0.1:80")
