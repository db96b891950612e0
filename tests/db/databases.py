"""Databases for tests on one server: each test has its own, copied from a template that was migrated once."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from core.user_ids import UserIdType
from db.migrate import migrate


class Databases:
    """The databases of one server, whose superuser's libpq string or URL is `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._templates: dict[UserIdType, str] = {}

    def address(self, name: str, **others: str) -> str:
        """The libpq string of that database."""
        return make_conninfo(self.url, dbname=name, **others)

    @contextmanager
    def empty(self, options: LiteralString = "") -> Iterator[str]:
        """The libpq string of a new database, dropped afterwards; `options` as of CREATE DATABASE."""
        name = f"test_{uuid.uuid4().hex}"
        self._run(sql.SQL("CREATE DATABASE {} " + options).format(sql.Identifier(name)))
        try:
            yield self.address(name)
        finally:
            self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def migrated(self, user_id_type: UserIdType = UserIdType.BIGINT) -> Iterator[str]:
        """The libpq string of a new database with Rowcast's tables and roles, dropped afterwards."""
        name = f"test_{uuid.uuid4().hex}"
        template = self._template(user_id_type)
        self._run(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)))
        try:
            yield self.address(name)
        finally:
            self._run(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    @contextmanager
    def login(self, *groups: LiteralString) -> Iterator[str]:
        """The name of a new role that may log in with the password "test", a member of these groups; dropped afterwards."""
        name = f"login_{uuid.uuid4().hex}"
        self._run(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'test'").format(sql.Identifier(name)))
        for group in groups:
            self._run(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(name)))
        try:
            yield name
        finally:
            self._run(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))

    def _template(self, user_id_type: UserIdType) -> str:
        if user_id_type not in self._templates:
            name = f"template_{user_id_type}_{uuid.uuid4().hex}"
            self._run(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            migrate(self.address(name), user_id_type=user_id_type, roles=True, say=lambda _: None)
            self._templates[user_id_type] = name
        return self._templates[user_id_type]

    def _run(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)
