"""The running Rowcast of these tests, and those that they start, on one version of Postgres after the other."""

from __future__ import annotations

import pytest

from rowcast.embedded import Server
from tests.db.databases import Databases
from tests.versions import postgres_of_version, pytest_generate_tests

__all__ = ["postgres_of_version", "pytest_generate_tests"]


@pytest.fixture(scope="session")
def databases(postgres_of_version: Server) -> Databases:
    """Makes databases on a Postgres of that version."""
    return Databases(postgres_of_version.url)
