"""Who inserts: transactions with a step for each thing another may come in between, some rolled back, and some that lock rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from tests.model.postgres import Database, Transaction
from tests.model.steps import Step, Steps

if TYPE_CHECKING:
    from tests.model.world import World

USERS = ("1", "2", "3", None)
OPEN = 3
LOCKS = 2


@dataclass(eq=False)
class Writer:
    """One transaction: the users it inserts for, and how it ends."""

    database: Database
    transaction: Transaction
    users: list[str | None]
    fails: bool
    to_look: bool = False
    texts: list[str] = field(default_factory=list)


class Writers:
    """All of them, and when each row was inserted and committed (in steps), by its name."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._time = 0
        self.most = 30  # rows
        self.rows = 0
        self.writing: list[Writer] = []
        self.locking: list[tuple[Database, Transaction]] = []
        self.inserted: dict[str, int] = {}
        self.committed: dict[str, int] = {}
        self.users: dict[str, str | None] = {}

    def steps(self) -> Steps:
        """What writers can do next."""
        steps = []
        if self._world.primary.up and len(self.writing) < OPEN and self.rows < self.most:
            steps.append(Step("begin", self.begin, 1.5))
        for number, writer in enumerate(self.writing):
            what = "look" if writer.to_look else "insert" if writer.users else "roll back" if writer.fails else "commit"
            steps.append(Step(f"writer {number}: {what}", partial(self.go_on, writer), 1.5))
        return steps

    def begin(self) -> None:
        chance = self._world.chance
        users = chance.choices(USERS, k=chance.choice((1, 1, 1, 2, 3)))
        database = self._world.primary
        self.writing.append(Writer(database, database.begin(), users, fails=chance.random() < 0.1))

    def go_on(self, writer: Writer) -> None:
        """The next thing this transaction does."""
        self._time += 1
        if writer.to_look:
            writer.database.look(writer.transaction)
            writer.to_look = False
        elif writer.users:
            self._insert(writer, writer.users.pop())
        else:
            self._end(writer)

    def insert(self, user: str | None) -> str:
        """A transaction of one row, whole; the row's name."""
        database = self._world.primary
        writer = Writer(database, database.begin(), [user], fails=False)
        self.writing.append(writer)
        while writer in self.writing:
            self.go_on(writer)
        return writer.texts[0]

    def _insert(self, writer: Writer, user: str | None) -> None:
        self.rows += 1
        name = f"row{self.rows}"
        size = self._world.chance.choice((0, 0, 0, 0, 40, 150, 500))
        writer.database.insert(writer.transaction, user, f"{name} {'x' * size}" if size else name)
        self.inserted[name] = self._time
        self.users[name] = user
        writer.texts.append(name)
        writer.to_look = True

    def _end(self, writer: Writer) -> None:
        self.writing.remove(writer)
        if writer.fails:
            writer.database.roll_back(writer.transaction)
        elif writer.transaction in writer.database.running:
            writer.database.commit(writer.transaction)
            self.committed.update(dict.fromkeys(writer.texts, self._time))

    def lock(self) -> None:
        """Somebody locks a row that is not stamped yet."""
        database = self._world.primary
        rows = [row.id for row in database.unsequenced if row.id not in database.locked]
        if rows:
            transaction = database.begin()
            transaction.locks.add(self._world.chance.choice(rows))
            self.locking.append((database, transaction))

    def unlock(self) -> None:
        database, transaction = self.locking.pop(self._world.chance.randrange(len(self.locking)))
        database.roll_back(transaction)

    def interrupted(self) -> None:
        """The server crashed: no transaction is left."""
        for writer in self.writing:
            writer.database.roll_back(writer.transaction)
        for database, transaction in self.locking:
            database.roll_back(transaction)
        self.writing.clear()
        self.locking.clear()

    def finish(self) -> None:
        """Everybody ends what they do."""
        while self.writing:
            self.go_on(self.writing[0])
        while self.locking:
            self.unlock()
