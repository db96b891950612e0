"""The pages about settings and commands say what the code does."""

from __future__ import annotations

from tests.rowcast.reference import DOCS, commands_page, settings_page

REMAKE = "run `python -m tests.rowcast.reference`"


def test_the_table_of_settings_is_the_codes() -> None:
    assert (DOCS / "settings.md").read_text("utf-8") == settings_page(), REMAKE


def test_the_page_of_commands_is_their_help() -> None:
    assert (DOCS / "commands.md").read_text("utf-8") == commands_page(), REMAKE
