"""What `rowcast tail` prints of an event."""

from __future__ import annotations

from rowcast.event_lines import for_people, for_programs


def test_json_that_python_cannot_read_passes_through() -> None:
    """A number of 5,000 digits is legal in jsonb; it must not end a tail."""
    data = '{"id":1,"message":"m","data":' + "1" * 5_000 + "}"
    assert for_programs("message", data, "7") == '{"seq":7,' + data[1:]
    assert "1" * 5_000 in for_people("message", data)
