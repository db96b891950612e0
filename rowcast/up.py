"""`rowcast up`: Postgres, Valkey, bridge and web on one machine, each replaced when it ends, all of them gone when we are.

Start, one after the other: the folder is ours (`possession`), the port is ours, servers, migrations, bridge and web, ready.
Stop, in the reverse order: web, bridge, Valkey, Postgres. A kill -9 of this process ends the children through their leashes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any

from core.clock import SystemClock
from core.errors import ConfigurationError, RowcastError
from db.migrate import migrate
from rowcast.final_screen import final_screen
from rowcast.folders import prepare_folder, state_folder, write_private
from rowcast.keeper import Keeper, Place
from rowcast.own_key import needs_own_key, own_key_file, with_own_key
from rowcast.possession import Possession, possess
from rowcast.readiness import wait_until_ready
from rowcast.serving import require_server
from rowcast.settings import Settings, check_redis_url, spelled
from rowcast.signals import until_signalled
from rowcast.sockets import Bind, listen
from rowcast.stack import Say, Stack
from rowcast.wiring.auth import auth_config

_READY_WITHIN = 60.0


def run_up(settings: Settings, say: Say) -> None:
    """Run everything until SIGINT or SIGTERM; progress, the final screen and each restart go to `say`. Raises RowcastError."""
    require_server(settings.server)
    check_redis_url(settings)
    if settings.auth == "jwt" and not needs_own_key(settings):
        auth_config(settings)
    _check_ready_file(settings)
    with contextlib.ExitStack() as undo:
        possession = undo.enter_context(_own_folder(settings, say))
        bind = Bind(f"127.0.0.1:{settings.port}", ((socket.AF_INET, ("127.0.0.1", settings.port)),))
        sockets = [undo.enter_context(made) for made in listen(bind, flag="--port")]
        stack = _stack(settings, possession, sockets, say)
        asyncio.run(until_signalled(run_stack(stack)))


def _stack(settings: Settings, possession: Possession, sockets: list[socket.socket], say: Say) -> Stack:
    """What is to run, with a key of its own if it shall ask for tokens and was given none to check them with."""
    if not needs_own_key(settings):
        return Stack(settings, possession, sockets, say)
    key_file = own_key_file(possession.folder)
    return Stack(with_own_key(settings, key_file), possession, sockets, say, key_file)


def _own_folder(settings: Settings, say: Say) -> AbstractContextManager[Possession]:
    """The folder of the data, held by us; raises RowcastError if it can't be."""
    folder = state_folder(settings.data_dir)
    if folder != settings.data_dir.expanduser().absolute():
        say(
            f"Data is kept in {folder}, as the account that Postgres runs as can't enter {settings.data_dir.absolute()}"
        )
    try:
        prepare_folder(folder)
    except OSError as error:
        raise RowcastError(
            f"Can't keep data in {error.filename}: {error.strerror}. Give another --data-dir."
        ) from error
    return possess(folder, say)


def _check_ready_file(settings: Settings) -> None:
    """Now rather than when all else is ready; one that a killed `up` left there must not be taken for ours."""
    if settings.ready_file is None:
        return
    try:
        write_private(settings.ready_file, "")
        settings.ready_file.unlink()
    except OSError as error:
        raise ConfigurationError(
            f"{spelled('ready_file')}: can't write {str(settings.ready_file)!r} ({error.strerror})."
        ) from error


async def run_stack(stack: Stack) -> None:
    """Start all, then keep all running until cancelled; everything has stopped when this ends, whatever ended it."""
    keeper = Keeper(SystemClock(), stack.say, stack.write_report)
    async with keeper.watching():
        try:
            stack.remove_report()
            await _start(stack, keeper)
            await _keep(stack, keeper)
        finally:
            await _stop(stack, keeper)


async def _start(stack: Stack, keeper: Keeper) -> None:
    if stack.servers:
        stack.say("Starting " + " and ".join(place.name.capitalize() for place in stack.servers))
    stack.prepare()
    await _together(keeper.fill, stack.servers)
    await asyncio.to_thread(_migrate, stack)
    stack.say("Starting bridge and web")
    await _together(keeper.fill, [*stack.bridge, *stack.web])


def _migrate(stack: Stack) -> None:
    chosen = stack.settings.chosen
    result = migrate(
        stack.database_url,
        user_id_type=stack.settings.user_id_type if chosen("user_id_type") else None,
        buckets=stack.settings.buckets if chosen("buckets") else None,
        roles=stack.postgres is not None,
        say=stack.say,
    )
    stack.user_id_type = result.user_id_type


async def _keep(stack: Stack, keeper: Keeper) -> None:
    async with asyncio.TaskGroup() as group:
        for place in stack.places:
            group.create_task(keeper.keep(place), name=f"keep {place.name}")
        await wait_until_ready(stack.web_url, within=_READY_WITHIN)
        stack.ready = True
        stack.write_report()
        stack.say(final_screen(stack, SystemClock().time()))


async def _stop(stack: Stack, keeper: Keeper) -> None:
    """In the reverse order of starting, so that nobody misses what it stands on."""
    stack.ready = False
    stack.remove_report()
    await asyncio.to_thread(stack.discard_prepared)
    for places in (stack.web, stack.bridge, stack.servers):
        await _together(keeper.empty, places)


async def _together(act: Callable[[Place], Coroutine[Any, Any, object]], places: Sequence[Place]) -> None:
    async with asyncio.TaskGroup() as group:
        for place in places:
            group.create_task(act(place), name=place.name)
