"""The named statements, read once. `{event}` in a statement stands for the fragment `_event.sql`."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import LiteralString

from psycopg import sql


def _text(name: str) -> LiteralString:
    # These files are part of the program, as literal as its source.
    return files(__package__).joinpath(f"{name}.sql").read_text("utf-8")


@cache
def query(name: str, **identifiers: str) -> sql.Composed:
    """The statement `queries/<name>.sql` with its fragments, and `identifiers`, filled in; raises FileNotFoundError for a name that is none."""
    fragments: dict[str, sql.Composable] = {
        path.name[1:-4]: sql.SQL(_text(path.name[:-4]))
        for path in files(__package__).iterdir()
        if path.name.startswith("_") and path.name.endswith(".sql")
    }
    named = {place: sql.Identifier(name) for place, name in identifiers.items()}
    return sql.SQL(_text(name)).format(**fragments, **named)
