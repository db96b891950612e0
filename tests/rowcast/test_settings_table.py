"""docs/settings.md has the settings as the program has them."""

from __future__ import annotations

import click

from rowcast.cli import COMMANDS, rowcast
from rowcast.settings import Settings, flag, variable
from tests.parts import ROOT


def takers(name: str) -> list[str]:
    """The commands that have a flag for this setting."""
    context = click.Context(rowcast)
    programs = [(command, rowcast.get_command(context, command)) for command in COMMANDS]
    return [command for command, program in programs if program and name in {option.name for option in program.params}]


def table() -> list[str]:
    rows = ["| setting | flag | of | default | what |", "|---|---|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = (
            ""
            if field.default in (None, "")
            else f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"
        )
        commands = takers(name)
        of = "all" if len(commands) == len(COMMANDS) else ", ".join(commands)
        rows.append(f"| `{variable(name)}` | `{flag(name)}` | {of} | {default} | {field.description} |")
    return rows


def test_the_table_of_settings_is_the_programs_own() -> None:
    """When it is not: `python -m tests.rowcast.test_settings_table` prints the table anew."""
    lines = (ROOT / "docs/settings.md").read_text().splitlines()
    assert [line for line in lines if line.startswith("|")] == table()


if __name__ == "__main__":
    click.echo("\n".join(table()))
