"""`python -m tests.fuzz --seconds 1200 --seed 0`: exit status 1, and what was wrong, if anything was."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path
from random import Random

import click

from tests.db.databases import Databases
from tests.fuzz.attack import Target, attack
from tests.fuzz.oracle import Findings, Footprint
from tests.fuzz.parsers import drive
from tests.parts import ROOT
from tests.rig import Rig, ready, rig
from tests.servers import embedded_postgres, embedded_valkey
from tests.web.auth.minting import SECRET

SERVERS = ("hypercorn", "uvicorn")
# A client that left is noticed by the next heartbeat.
SETTINGS: dict[str, str] = {
    "heartbeat": "1",
    # All that is sent comes from one address.
    "requests_per_address": "0",
    "streams_per_address": "0",
    "streams_per_user": "0",
}
REST = 90.0  # seconds
IDLE = 25  # descriptors of a web process that nobody talks to, at most


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description="Random input for a running Rowcast.")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    random, findings = Random(asked.seed), Findings()
    tried, findings.wrong[:] = drive(random, asked.seconds / 10)
    click.echo(f"parsers: {tried} inputs")
    with embedded_postgres() as postgres, embedded_valkey() as valkey, Databases(postgres.url).migrated() as database:
        asyncio.run(_attack(database, valkey.url, random, asked.seconds * 0.9, findings))
    click.echo("answers: " + ", ".join(f"{count} x {status}" for status, count in sorted(findings.statuses.items())))
    return _report(findings)


async def _attack(database: str, redis: str, random: Random, seconds: float, findings: Findings) -> None:
    async with rig(database, redis, prefix="fuzz", **SETTINGS) as parts:
        await parts.bridge()
        targets = [await _target(parts, server, auth) for server in SERVERS for auth in ("off", "jwt")]
        warm = await attack(targets, random, seconds / 4, findings)
        before = [await _rested(target) for target in targets]
        done = await attack(targets, random, seconds * 3 / 4, findings)
        click.echo(f"connections: {warm + done}")
        for target, footprint in zip(targets, before, strict=True):
            if target.process.process is None or target.process.process.returncode is not None:
                continue
            after = await _rested(target)
            click.echo(
                f"{target.name}: {footprint.memory >> 20} -> {after.memory >> 20} MiB, {footprint.descriptors} -> {after.descriptors} fds"
            )
            if grown := after.grown(footprint):
                findings.wrong.append(f"{target.name}: {grown}")
        for process in parts.processes:
            findings.logged(" ".join(process.arguments), process.log)


async def _target(parts: Rig, server: str, auth: str) -> Target:
    url, process = await parts.web_unready("--auth", auth, server=server, jwt_key=SECRET)
    await ready(url, process, timeout=300)
    return Target(f"{server} with auth {auth}", url, process)


async def _rested(target: Target) -> Footprint:
    """What it holds once everybody has left: a stream notices that by its next heartbeat, one request after the other on a connection with many."""
    end = time.monotonic() + REST
    while (held := Footprint.of(target.process)).descriptors > IDLE and time.monotonic() < end:
        await asyncio.sleep(0.5)
    return held


def _report(findings: Findings) -> int:
    for sentence in findings.wrong:
        click.echo("WRONG: " + sentence, err=True)
    if findings.wrong:
        folder = ROOT / "build"
        folder.mkdir(exist_ok=True)
        last = Path(folder / "fuzz-last.txt")
        last.write_text("\n".join(repr(sent) for sent in findings.sent))
        click.echo(f"what was sent last is in {last}", err=True)
    return 1 if findings.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
