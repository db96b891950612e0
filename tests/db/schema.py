"""The schema as pg_dump writes it, without what differs from run to run. `python -m tests.db.schema` writes db/schema.sql anew."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from core.user_ids import UserIdType
from db.migrate import migrate
from rowcast.embedded.binaries import postgres_programs
from tests.db.databases import Databases
from tests.servers import embedded_postgres

SCHEMA = Path(__file__).parents[2] / "db" / "schema.sql"

HEADER = """\
-- What the migrations add up to: never edited by hand, compared with them by a test. To see it, not to run it: `rowcast migrate` also
-- keeps the ledger of migrations and puts the one row into rowcast.state. Written by `python -m tests.db.schema`.
-- The type of user ids is a variable of psql: `psql -v user_id_type=bigint` (or uuid, or text).

"""

# Settings of the session that restores, comments, the guard that pg_dump writes with a new word each time, and a number that some minor
# versions (Debian's 15.20) keep among the options of each column, for themselves.
_NOISE = re.compile(
    r"^(--|SET |SELECT pg_catalog\.set_config|\\restrict|\\unrestrict|ALTER TABLE ONLY \S+ ALTER COLUMN \w+ SET \(pg_attver=\d+\);)"
)


def dump(address: str) -> str:
    """The schema of that database, without the migration library's own tables."""
    pg_dump = postgres_programs(Path("/nonexistent"), None) / "pg_dump"
    password = str(conninfo_to_dict(address).get("password", ""))
    done = subprocess.run(
        [pg_dump, "--schema-only", "--no-owner", "--exclude-table=rowcast._yoyo*", f"--dbname={address}"],
        env={"PGPASSWORD": password},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if not _NOISE.match(line)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def written(user_id_type: UserIdType) -> str:
    """db/schema.sql for that type of user ids, without its header."""
    return SCHEMA.read_text("utf-8").removeprefix(HEADER).replace(":user_id_type", user_id_type)


def main() -> None:
    with embedded_postgres() as server, Databases(server.url).empty() as address:
        migrate(address, user_id_type=UserIdType.BIGINT, say=lambda _: None)
        SCHEMA.write_text(HEADER + re.sub(r"\buser_id bigint\b", "user_id :user_id_type", dump(address)), "utf-8")


if __name__ == "__main__":
    main()
