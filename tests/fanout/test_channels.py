"""The bookkeeping of one subscription, against a model of a Redis server that carries out commands and answers them in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fanout.channels import SUBSCRIBE, UNSUBSCRIBE, Channels, Command

ALWAYS = b"mark"
USERS = [b"user:1", b"user:2"]
Waiting = asyncio.Future[None] | None


@dataclass
class Server:
    """One connection, as Redis sees it."""

    incoming: deque[Command] = field(default_factory=deque)
    outgoing: deque[Command] = field(default_factory=deque)
    subscribed: set[bytes] = field(default_factory=set)

    def carry_out(self) -> None:
        command, name = self.incoming.popleft()
        if command == SUBSCRIBE:
            assert name not in self.subscribed, "rule 4.6: a confirmed channel was subscribed again"
            self.subscribed.add(name)
        else:
            assert name in self.subscribed, "unsubscribed what was not subscribed"
            self.subscribed.remove(name)
        self.outgoing.append((command, name))

    def will_hear(self, name: bytes) -> bool:
        """Subscribed, with nothing on its way that changes it?"""
        return name in self.subscribed and all(asked != name for _, asked in self.incoming)


class SubscriptionLife(RuleBasedStateMachine):
    """Streams come and go, the connection too; commands and answers take their time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.channels = Channels([ALWAYS])
        self.streams: list[tuple[bytes, Waiting]] = []
        self.server: Server | None = None
        self.to_join: set[bytes] = set()

    def teardown(self) -> None:
        self.loop.close()

    def call(self, work: Coroutine[Any, Any, Waiting]) -> Waiting:
        return self.loop.run_until_complete(work)

    @property
    def wanted(self) -> set[bytes]:
        return {ALWAYS, *(name for name, _ in self.streams)}

    @rule(name=st.sampled_from(USERS))
    def a_stream_comes(self, name: bytes) -> None:
        async def confirmation() -> Waiting:
            return self.channels.confirmation(name)

        self.channels.add(name)
        future = self.call(confirmation())
        if future is None and self.server is not None:
            assert self.server.will_hear(name), "rule 4.6: counts as subscribed before it is"
        self.streams.append((name, future))

    @precondition(lambda self: self.streams)
    @rule(data=st.data(), at_once=st.booleans())
    def a_stream_goes(self, data: st.DataObject, at_once: bool) -> None:
        name, future = self.streams.pop(data.draw(st.integers(0, len(self.streams) - 1)))
        self.channels.remove(name)
        if future is not None:
            future.cancel()
        if at_once and self.server is not None:
            self.write()

    @rule(name=st.sampled_from(USERS), at_once=st.booleans())
    def a_stream_comes_and_goes(self, name: bytes, at_once: bool) -> None:
        self.channels.add(name)
        self.channels.remove(name)
        if at_once and self.server is not None:
            self.write()

    @precondition(lambda self: self.server is None)
    @rule()
    def connect(self) -> None:
        self.server = Server(deque(self.channels.connected()))
        self.to_join = set(self.wanted)
        assert [name for _, name in sorted(self.server.incoming)] == sorted(self.wanted), (
            "rule 4.4: not every channel wanted is asked for"
        )

    @precondition(lambda self: self.server is not None)
    @rule()
    def write(self) -> None:
        assert self.server is not None
        self.server.incoming.extend(self.channels.due())

    @precondition(lambda self: self.server is not None and self.server.incoming)
    @rule()
    def the_server_works(self) -> None:
        assert self.server is not None
        self.server.carry_out()

    @precondition(lambda self: self.server is not None and self.server.outgoing)
    @rule()
    def an_answer_arrives(self) -> None:
        assert self.server is not None
        open_before = [(name, future) for name, future in self.streams if future is not None and not future.done()]
        command, name = self.server.outgoing.popleft()
        assert self.channels.answered(command, name)
        if command == SUBSCRIBE:
            self.to_join.discard(name)
        for waited_for, future in open_before:
            if future.done():
                assert self.server.will_hear(waited_for), "rule 4.6: confirmed, and not subscribed"

    @precondition(lambda self: self.server is not None and self.channels.joined)
    @rule(command=st.sampled_from([SUBSCRIBE, UNSUBSCRIBE]), name=st.sampled_from([ALWAYS, *USERS]))
    def an_answer_that_nobody_asked_for(self, command: bytes, name: bytes) -> None:
        assert self.server is not None
        if [*self.server.outgoing, *self.server.incoming][:1] != [(command, name)]:
            assert not self.channels.answered(command, name)
            self.lose()

    @precondition(lambda self: self.server is not None and self.to_join != self.wanted)
    @rule()
    def lose(self) -> None:
        self.channels.lost()
        self.server = None
        self.to_join.clear()
        assert all(future is None or future.done() for _, future in self.streams), (
            "somebody waits for a dead connection"
        )

    @precondition(lambda self: self.server is not None)
    @rule()
    def come_to_rest(self) -> None:
        """Everything is written, carried out and answered: what is subscribed is what is wanted, and nobody waits."""
        assert self.server is not None
        self.write()
        while self.server.incoming or self.server.outgoing:
            while self.server.incoming:
                self.the_server_works()
            while self.server.outgoing:
                self.an_answer_arrives()
            self.write()
        assert self.server.subscribed == self.wanted
        assert len(self.channels) == len(self.wanted), "a channel that nobody wants is kept for ever"
        assert all(future is None or future.done() for _, future in self.streams), "somebody waits for ever"
        assert self.channels.joined

    @invariant()
    def joined_means_all_that_were_wanted_at_connect_are_confirmed(self) -> None:
        assert self.channels.joined == (self.server is not None and not self.to_join)


SubscriptionLife.TestCase.settings = settings(max_examples=150, stateful_step_count=80, deadline=None)
TestSubscriptionLife = pytest.mark.filterwarnings("ignore::ResourceWarning")(SubscriptionLife.TestCase)


async def test_a_stream_that_comes_back_before_the_unsubscribe_is_written_costs_no_command() -> None:
    channels = Channels([ALWAYS])
    channels.add(b"user:1")
    for command in channels.connected():
        assert channels.answered(*command)
    channels.remove(b"user:1")
    channels.add(b"user:1")
    assert channels.confirmation(b"user:1") is None
    assert channels.due() == []


async def test_a_second_stream_waits_for_the_answer_to_the_firsts_subscribe() -> None:
    """Rule 4.6: until then nothing says that the channel is heard."""
    channels = Channels([ALWAYS])
    for command in channels.connected():
        assert channels.answered(*command)
    channels.add(b"user:1")
    [subscribe] = channels.due()
    channels.add(b"user:1")
    confirmation = channels.confirmation(b"user:1")
    assert confirmation is not None
    assert channels.due() == [], "one subscribe is enough for both"
    assert channels.answered(*subscribe)
    assert confirmation.done()


async def test_after_an_unsubscribe_only_a_later_subscribes_answer_counts() -> None:
    channels = Channels([ALWAYS])
    channels.add(b"user:1")
    commands = channels.connected()
    channels.remove(b"user:1")
    commands += channels.due()
    channels.add(b"user:1")
    confirmation = channels.confirmation(b"user:1")
    assert confirmation is not None
    commands += channels.due()
    of_user = [command for command in commands if command[1] == b"user:1"]
    assert [command for command, _ in of_user] == [SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBE]
    for number, command in enumerate(commands):
        assert not confirmation.done(), number
        assert channels.answered(*command)
    assert confirmation.done()


async def test_a_visit_during_an_unsubscribe_leaves_its_answer_something_to_answer() -> None:
    channels = Channels([ALWAYS])
    channels.add(b"user:1")
    for command in channels.connected():
        assert channels.answered(*command)
    channels.remove(b"user:1")
    [unsubscribe] = channels.due()
    channels.add(b"user:1")
    channels.remove(b"user:1")
    assert channels.due() == []
    assert channels.answered(*unsubscribe)
    assert len(channels) == 1


def test_a_burst_of_streams_of_one_user_is_one_command() -> None:
    channels = Channels([ALWAYS])
    channels.connected()
    for _ in range(50):
        channels.add(b"user:1")
    assert channels.due() == [(SUBSCRIBE, b"user:1")]
    for _ in range(49):
        channels.remove(b"user:1")
    assert channels.due() == []
    channels.remove(b"user:1")
    assert channels.due() == [(UNSUBSCRIBE, b"user:1")]
