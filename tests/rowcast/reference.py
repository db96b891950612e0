"""docs/settings.md and docs/commands.md as the code has them. `python -m tests.rowcast.reference` writes them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from rowcast.cli import COMMANDS, rowcast
from rowcast.settings import Settings, flag, variable

DOCS = Path(__file__).parents[2] / "docs"
_REMAKE = "<!-- Made from the code by `python -m tests.rowcast.reference`; a test compares. -->\n"


def settings_page() -> str:
    """All settings, with who uses which."""
    used = {name: sorted(_commands_with(name), key=list(COMMANDS).index) for name in Settings.model_fields}
    rows = [_row(name, field, used[name]) for name, field in Settings.model_fields.items()]
    return f"""# Settings
{_REMAKE}
Each setting is an environment variable, a line `NAME=value` of the file `.env` in the current folder, and a flag of the
commands that use it. A flag wins over the environment, that over the file, that over the default; an empty value counts
as none. Lengths of time are in seconds.

A name that begins with `ROWCAST_` and is none of these is warned of, with the nearest one, and otherwise ignored. A wrong
value ends the command with status 2 and a sentence that names the setting, what is allowed, and what came.

`ROWCAST_DATABASE_URL` may be anything libpq understands, and libpq's own variables (`PGPASSWORD`, `PGSSLROOTCERT`, …) count
for what it leaves out. With one of the two addresses set, `rowcast up` uses that server and starts none of its kind.
How the doorbell rings is a setting of the database, not of a process: [delivery.md](delivery.md#the-doorbell).

Passwords and keys belong into the environment or the file: flags show in the list of processes. Or each into a file of its own, as Docker and
Kubernetes hand out secrets: `ROWCAST_DATABASE_URL_FILE`, `ROWCAST_REDIS_URL_FILE` and `ROWCAST_JWT_KEY_FILE` name files whose content, without
one newline at the end, is the setting. Both at once are refused. The file is read at start, once, for all the processes of a command.

What is for tokens (`ROWCAST_JWT_…`, `ROWCAST_JWKS_URL`) counts with `ROWCAST_AUTH=jwt`, and for `rowcast token`; it is ignored otherwise.

| variable | flag | default | what | used by |
|---|---|---|---|---|
{chr(10).join(rows)}
"""


def commands_page() -> str:
    """The help of `rowcast` and of each command."""
    parts = [_help([])] + [_help([name]) for name in COMMANDS]
    return f"""# Commands
{_REMAKE}
What `rowcast --help` and `rowcast COMMAND --help` say.

{chr(10).join(parts)}"""


def _row(name: str, field: Any, commands: list[str]) -> str:
    default = "" if field.default in (None, "") else f"`{_text(field.default)}`"
    by = "all" if len(commands) == len(COMMANDS) else ", ".join(f"`{command}`" for command in commands)
    return f"| `{variable(name)}` | `{flag(name)}` | {default} | {field.description} | {by} |"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _commands_with(name: str) -> list[str]:
    return [command for command in COMMANDS if any(option.name == name for option in _command(command).params)]


def _command(name: str) -> click.Command:
    command: click.Command = importlib.import_module(f"rowcast.commands.{name}").command
    return command


def _help(arguments: list[str]) -> str:
    text = CliRunner().invoke(rowcast, [*arguments, "--help"], prog_name="rowcast", terminal_width=100).output
    return f"## {' '.join(['rowcast', *arguments])}\n\n```text\n{text.rstrip()}\n```\n"


if __name__ == "__main__":
    (DOCS / "settings.md").write_text(settings_page(), encoding="utf-8")
    (DOCS / "commands.md").write_text(commands_page(), encoding="utf-8")
