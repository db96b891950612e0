"""Flags for the settings a command uses, made from the settings themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
from pydantic import ByteSize

from rowcast import logs
from rowcast.settings import SECRETS, Settings, file_of, flag, load, variable

_Command = TypeVar("_Command", bound=Callable[..., Any])
_ALWAYS = ("log_level", "log_format", "env_file")


def takes_settings(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command a flag for each of these settings and hand it the Settings as its first argument, with logging set up.

    A secret that is among them is also taken from the file that its setting `…_file` names.
    """
    secrets = [name for name in names if name in SECRETS]
    files = [file_of(name) for name in secrets]
    offered = list(dict.fromkeys((*names, *files, *_ALWAYS)))

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def run(**arguments: Any) -> Any:
            flags = {name: arguments.pop(name) for name in offered}
            settings, warnings = load(flags, secrets)
            logs.set_up(settings.log_level, settings.log_format)
            for sentence in warnings:
                click.echo(f"rowcast: {sentence}", err=True)
            return command(settings, **arguments)

        for name in reversed(offered):
            run = _option(name)(run)
        return run

    return decorate


def _option(name: str) -> Callable[[_Command], _Command]:
    field = Settings.model_fields[name]
    text = f"{field.description} [{variable(name)}{_default(field.default)}]"
    if field.annotation is bool:
        return click.option(flag(name), name, is_flag=True, default=None, help=text)
    return click.option(flag(name), name, metavar=_metavar(field.annotation), default=None, help=text)


def _default(value: object) -> str:
    return "" if value in (None, "", False) else f", default {value}"


def _metavar(annotation: Any) -> str:
    """What goes after the flag: the words that may be said, or the kind of value."""
    kinds = {int: "N", int | None: "N", float: "SECONDS", Path: "PATH", Path | None: "PATH", ByteSize: "BYTES"}
    words = list(annotation) if isinstance(annotation, type) and issubclass(annotation, StrEnum) else _words(annotation)
    return "|".join(words) or kinds.get(annotation, "TEXT")


def _words(annotation: Any) -> list[str]:
    """The strings of a Literal, also of an optional one."""
    return [word for part in (annotation, *get_args(annotation)) for word in get_args(part) if isinstance(word, str)]
