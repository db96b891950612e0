"""The two parsers of what others send, driven in this process: Last-Event-ID with its URL, and the message form."""

from __future__ import annotations

import time
from contextlib import suppress
from random import Random

from werkzeug.exceptions import HTTPException

from core.user_ids import UserIdType
from fanout.messages import UnreadableMessageError, decode_mark, decode_message
from tests.fuzz.requests import mutated, text
from web.auth.caller import ANYBODY
from web.problems import Problem
from web.routes.events import asked_for

LONGEST = 0.3  # seconds of this thread for any one input
MESSAGES = (
    b'{"v":1,"seq":7,"from":4,"kind":"notification","id":3,"user_id":1,"key":null,"message":"m","data":null}',
    b'{"v":1,"seq":7,"from":4,"kind":"viewed","id":3,"user_id":"a\\"b\\u00e9","key":null}',
    b'{"v":1,"from":4,"to":7}',
    b'{"v":1,"seq":7,"from":4,"kind":"notification","id":3,"user_id":"' + b"\\\\" * 4_000,
)


def drive(random: Random, seconds: float) -> tuple[int, list[str]]:
    """How many inputs were tried, and what was wrong."""
    end = time.monotonic() + seconds
    tried, wrong = 0, list[str]()
    while time.monotonic() < end and len(wrong) < 20:
        tried += 1
        began = time.thread_time()
        try:
            _once(random)
        except Exception as error:  # which is what is looked for
            wrong.append(f"parser raised {error!r} at input {tried}")
        if (took := time.thread_time() - began) > LONGEST:
            wrong.append(f"input {tried} took a parser {took:.1f} s")
    return tried, wrong


def _once(random: Random) -> None:
    if random.random() < 0.5:
        payload = mutated(random, random.choice(MESSAGES))
        for decode in (decode_message, decode_mark):
            with suppress(UnreadableMessageError):
                decode(payload)
        return
    user, query = text(random), f"since={text(random)}&lastEventId={text(random)}"
    encode = "surrogatepass"
    with suppress(HTTPException, Problem):
        asked_for(
            random.choice(list(UserIdType)),
            ANYBODY,
            user,
            path=f"/events/{user}".encode("utf-8", encode),
            query=mutated(random, query.encode("utf-8", encode)),
            last_event_id=random.choice((None, text(random))),
        )
