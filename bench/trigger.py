"""What the trigger alone costs a commit: one session, no bridge, tables of the same columns and indexes. `python -m bench.trigger`."""

from __future__ import annotations

import statistics
import time
from typing import LiteralString

import psycopg

from rowcast.embedded import start_postgres
from tests.db.databases import Databases
from tests.servers import folder

ROUNDS, ROWS = 8, 500
_INSERTS: dict[str, LiteralString] = {
    "no trigger": "INSERT INTO bare (user_id, message) VALUES (%s, 'x')",
    "an empty trigger": "INSERT INTO empty (user_id, message) VALUES (%s, 'x')",
    "Rowcast's": "INSERT INTO notifications (user_id, message) VALUES (%s, 'x')",
}
_PREPARE = """
CREATE TABLE bare (LIKE notifications INCLUDING ALL);
CREATE TABLE empty (LIKE notifications INCLUDING ALL);
CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER nothing AFTER INSERT ON empty FOR EACH ROW EXECUTE FUNCTION nothing();
"""


def main() -> None:
    """Print, for each table and with and without flushes, the median commit and its ratio to that of no trigger, of all rounds."""
    with folder() as state:
        server = start_postgres(state)
        try:
            with Databases(server.url).migrated() as url, psycopg.connect(url, autocommit=True) as sql:
                sql.execute(_PREPARE)
                for flush in ("on", "off"):
                    sql.execute("SELECT set_config('synchronous_commit', %s, false)", (flush,))
                    _measure(sql, flush)
        finally:
            server.stop()


def _measure(sql: psycopg.Connection[tuple[object, ...]], flush: str) -> None:
    took: dict[str, list[float]] = {name: [] for name in _INSERTS}
    for _ in range(ROUNDS):
        for name, insert in _INSERTS.items():
            took[name].append(_commit(sql, insert))
    for name, rounds in took.items():
        ratios = sorted(one / bare for one, bare in zip(rounds, took["no trigger"], strict=True))
        _say(
            f"synchronous_commit {flush:<3}  {name:<16} {statistics.median(rounds) * 1e6:7.1f} us   "
            f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


def _commit(sql: psycopg.Connection[tuple[object, ...]], insert: LiteralString) -> float:
    took = []
    for number in range(ROWS):
        began = time.perf_counter()
        sql.execute(insert, (number % 100,), prepare=True)
        took.append(time.perf_counter() - began)
    return statistics.median(took)


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 -- a command's output


if __name__ == "__main__":
    main()
