"""Dead letters in the state database.

Here belong the statements behind `core.dead_letters.DeadLetterLedger`. A row keeps also when its record was first met,
for who looks into the database.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, RowMapping, Select, delete, select

from backfill_assets.adapters.state.connecting import transaction
from backfill_assets.adapters.state.tables import DEAD_LETTERS
from backfill_assets.adapters.state.upserts import upsert
from backfill_assets.core.dead_letters import DeadLetter, digest

COLUMNS = DEAD_LETTERS.c
RENAMED = {"table": "table_name", "partition": "partition_key"}
"""Fields whose names are words of SQL."""

ROWS_A_STATEMENT = 1000

Part = TypeVar("Part")


class SqlDeadLetters:
    """A `DeadLetterLedger` on PostgreSQL or SQLite."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, letters: Iterable[DeadLetter]) -> None:
        """See `DeadLetterLedger.put`; all of them in one transaction."""
        rows = _rows(letters)
        if not rows:
            return
        statement = upsert(self._engine, DEAD_LETTERS, key=["identity"], keep=["first_seen_at"])
        with transaction(self._engine) as connection:
            for part in _parts(rows):
                connection.execute(statement, part)

    def resolve(self, domain: str, tenant: str, service: str, table: str, records: Iterable[tuple[str, str]]) -> int:
        """See `DeadLetterLedger.resolve`."""
        fitting = {digest((domain, tenant, service, table, *record)) for record in records}
        with transaction(self._engine) as connection:
            # There are many records and few letters, so the letters are what is fetched.
            held = select(COLUMNS.identity).order_by(COLUMNS.identity).with_for_update()
            place = _matching(held, {"domain": domain, "tenant": tenant, "service": service, "table": table})
            found = [identity for identity in connection.execute(place).scalars() if identity in fitting]
            return sum(_delete(connection, part) for part in _parts(found))

    def letters(
        self,
        *,
        domain: str | None = None,
        tenant: str | None = None,
        service: str | None = None,
        table: str | None = None,
    ) -> Sequence[DeadLetter]:
        """See `DeadLetterLedger.letters`."""
        wanted = {"domain": domain, "tenant": tenant, "service": service, "table": table}
        with transaction(self._engine) as connection:
            rows = connection.execute(_matching(select(DEAD_LETTERS), wanted)).mappings()
            # Not sorted by the database, whose order depends on its collation.
            return sorted(map(_letter, rows), key=lambda letter: letter.identity)


def _rows(letters: Iterable[DeadLetter]) -> Sequence[Mapping[str, Any]]:
    """One row a letter, in the order of their digests: two writers who lock in one order cannot deadlock."""
    rows: dict[str, dict[str, Any]] = {}
    for letter in letters:
        row = {RENAMED.get(name, name): value for name, value in asdict(letter).items()}
        identity = digest(letter.identity)
        first_seen_at = rows[identity]["first_seen_at"] if identity in rows else letter.seen_at
        rows[identity] = {**row, "identity": identity, "first_seen_at": first_seen_at}
    return [rows[identity] for identity in sorted(rows)]


def _parts(rows: Sequence[Part]) -> Iterator[Sequence[Part]]:
    for start in range(0, len(rows), ROWS_A_STATEMENT):
        yield rows[start : start + ROWS_A_STATEMENT]


def _matching(statement: Select[Any], wanted: Mapping[str, str | None]) -> Select[Any]:
    given = {RENAMED.get(name, name): value for name, value in wanted.items() if value is not None}
    return statement.where(*(COLUMNS[name] == value for name, value in given.items()))


def _delete(connection: Connection, identities: Sequence[str]) -> int:
    return connection.execute(delete(DEAD_LETTERS).where(COLUMNS.identity.in_(identities))).rowcount


def _letter(row: RowMapping) -> DeadLetter:
    return DeadLetter(**{field: row[RENAMED.get(field, field)] for field in DeadLetter.__dataclass_fields__})
