"""Random bytes to running web processes, and what comes back."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from urllib.parse import urlsplit

import httpx

from tests.fuzz.oracle import Findings
from tests.fuzz.requests import Sent, generate
from tests.rig import Process

ANSWER = 30.0  # seconds, on however busy a machine, in which a sound request must have begun to be answered
LINGER = 0.05  # seconds that are waited for more, once something came
CLIENTS = 6
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a RST


@dataclass
class Target:
    """A web process under attack."""

    name: str
    url: str
    process: Process


async def attack(targets: list[Target], random: Random, seconds: float, findings: Findings) -> int:
    """Send to all of them until the time is over or something is wrong; how many connections were made."""
    end = time.monotonic() + seconds
    counts = [0] * CLIENTS

    async def client(number: int) -> None:
        own = Random(random.random())
        while time.monotonic() < end and len(findings.wrong) < 20:
            await _once(own.choice(targets), generate(own), own, findings)
            counts[number] += 1

    async with asyncio.TaskGroup() as tasks:
        clients = [tasks.create_task(client(number)) for number in range(CLIENTS)]
        watching = tasks.create_task(_watch(targets, findings))
        await asyncio.wait(clients)
        watching.cancel()
    return sum(counts)


async def _once(target: Target, sent: Sent, random: Random, findings: Findings) -> None:
    findings.sent.append(sent.data)
    place = urlsplit(target.url)
    try:
        async with asyncio.timeout(ANSWER):
            reader, writer = await asyncio.open_connection(place.hostname, place.port)
    except (OSError, TimeoutError) as error:
        findings.wrong.append(f"{target.name} took no connection: {error!r}")
        await asyncio.sleep(1)  # it is broken, and the rest is noise
        return
    try:
        await _send(writer, sent.data, random)
        answer, whole = await _read(reader, ANSWER if sent.sound else 0.2)
        findings.answered(sent.data, answer, sound=sent.sound, whole=whole)
    finally:
        _leave(writer, random)


async def _send(writer: asyncio.StreamWriter, data: bytes, random: Random) -> None:
    with suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(ANSWER):
            if random.random() < 0.1:
                cut = random.randrange(len(data) + 1)
                writer.write(data[:cut])
                await writer.drain()
                await asyncio.sleep(0)
                data = data[cut:]
            writer.write(data)
            await writer.drain()


async def _read(reader: asyncio.StreamReader, patience: float) -> tuple[bytes, bool]:
    """What comes, and whether the server ended it; a stream is left after its first bytes."""
    answer = b""
    with suppress(TimeoutError, ConnectionError):
        while len(answer) < 1 << 20:
            async with asyncio.timeout(LINGER if answer else patience):
                part = await reader.read(1 << 16)
            if not part:
                return answer, True
            answer += part
    return answer, False


def _leave(writer: asyncio.StreamWriter, random: Random) -> None:
    """With a FIN or a RST."""
    sock = writer.get_extra_info("socket")
    if sock is not None and random.random() < 0.3:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort() if random.random() < 0.3 else writer.close()


async def _watch(targets: list[Target], findings: Findings) -> None:
    """Every process lives and answers meanwhile."""
    async with httpx.AsyncClient(trust_env=False, timeout=ANSWER) as http:
        while True:
            await asyncio.sleep(1)
            for target in targets:
                if target.process.process is not None and target.process.process.returncode is not None:
                    findings.wrong.append(f"{target.name} ended with {target.process.process.returncode}")
                    return
                try:
                    status = (await http.get(f"{target.url}/healthz")).status_code
                except httpx.HTTPError as error:
                    findings.wrong.append(f"{target.name} does not answer /healthz: {error!r}")
                    continue
                if status not in {200, 429}:
                    findings.wrong.append(f"{target.name} answers /healthz with {status}")
