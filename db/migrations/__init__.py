"""The numbered migrations, NNNN_what.sql: each one transaction, forward only, never changed once released."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable


def migration_files() -> list[Traversable]:
    """The files, in the order of their numbers."""
    found = [file for file in files(__package__).iterdir() if file.name.endswith(".sql")]
    return sorted(found, key=lambda file: number_of(file.name))


def number_of(name: str) -> int:
    """The number of a migration, by its file's name or its id."""
    return int(name.split("_", 1)[0])


def highest(names: Iterable[str]) -> int:
    """The highest number among them; 0 if there is none."""
    return max(map(number_of, names), default=0)


def latest() -> int:
    """The number of the last migration that this code knows."""
    return highest(file.name for file in migration_files())
