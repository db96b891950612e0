"""One line for each event that arrives: for people in colour, for programs as JSON."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

import click

from rowcast.terminal import safe, safe_json

_HELLO = "hello"
_NO_TYPE = "message"  # what an event without `event:` line is called by the standard
_SEQ = re.compile(r"[0-9]{1,19}", re.ASCII)
_DEFAULT_CHANNEL = "notifications_channel"


def for_programs(kind: str, data: str, seq: str) -> str | None:
    """The event's JSON with its seq, and its kind if it is no notification; None for `hello`, which tells programs nothing."""
    if kind == _HELLO:
        return None
    named = {} if kind == _NO_TYPE else {"event": kind}
    head = json.dumps({**named, "seq": int(seq) if _SEQ.fullmatch(seq) else None}, separators=(",", ":"))
    # The event itself is not parsed: it may hold what Python can't read, such as a number of 5,000 digits. A pipe may end in a terminal all the same.
    body = safe_json(data).strip()
    return f"{head[:-1]},{body[1:]}" if body.startswith("{") else f'{head[:-1]},"data":{json.dumps(data)}}}'


def for_people(kind: str, data: str) -> str:
    """Time, message, and what else there is, each in its colour; nothing in it can steer the terminal."""
    if kind == _HELLO:
        return click.style("· live", dim=True)
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):  # JSON that Python can't read, such as a number of 5,000 digits
        return safe(data)
    if not isinstance(fields, dict):
        return safe(data)
    if kind == "reset":
        return click.style(f"! history starts anew here ({safe(fields.get('reason'))})", fg="yellow")
    parts = [
        click.style(_clock_time(fields.get("timestamp")), dim=True),
        click.style(safe(fields.get("message")), bold=True),
    ]
    if kind != _NO_TYPE:
        parts.insert(1, click.style(safe(kind), fg="magenta"))
    if fields.get("key") is not None:
        parts.append(click.style(safe(fields["key"]), fg="cyan"))
    if fields.get("channel_type") not in (None, _DEFAULT_CHANNEL):
        parts.append(click.style("#" + safe(fields["channel_type"]), fg="blue"))
    if fields.get("user_id", "") is None:
        parts.append(click.style("(to everyone)", fg="yellow"))
    if fields.get("data") is not None:
        parts.append(click.style(safe(json.dumps(fields["data"], ensure_ascii=False)), dim=True))
    return "  ".join(parts)


def _clock_time(timestamp: Any) -> str:
    try:
        return datetime.fromisoformat(str(timestamp)).astimezone().strftime("%H:%M:%S")
    except (ValueError, OverflowError, OSError):  # `infinity` is a time to Postgres
        return safe(timestamp)
