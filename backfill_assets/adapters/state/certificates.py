"""Certificates in the state database.

Here belong the statements behind `core.certificates.CertificateLedger` and nothing else.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter

from sqlalchemy import ColumnElement, Engine, and_, or_, select

from backfill_assets.adapters.state.connecting import transaction
from backfill_assets.adapters.state.tables import CERTIFICATES
from backfill_assets.adapters.state.upserts import upsert
from backfill_assets.core.certificates import Certificate

_COLUMNS = {
    field.name: CERTIFICATES.c[{"table": "table_name", "window": "window_key"}.get(field.name, field.name)]
    for field in fields(Certificate)
}


class SqlCertificates:
    """A `CertificateLedger` on PostgreSQL or SQLite."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, certificates: Iterable[Certificate]) -> None:
        """See `CertificateLedger.put`; all of them in one transaction, in an order that is the same for all writers."""
        place = attrgetter("tenant", "service", "table", "window")
        rows = [
            {column.name: getattr(certificate, name) for name, column in _COLUMNS.items()}
            for certificate in sorted(certificates, key=place)
        ]
        if not rows:
            return
        statement = upsert(self._engine, CERTIFICATES, key=["tenant", "service", "table_name", "window_key"])
        with transaction(self._engine) as connection:
            connection.execute(statement, rows)

    def certificates(self, *, tenant: str, service: str, table: str) -> Sequence[Certificate]:
        """See `CertificateLedger.certificates`."""
        return self._found(service, table, CERTIFICATES.c.tenant == tenant)

    def windows(self, *, service: str, table: str) -> Sequence[tuple[str, str]]:
        """See `CertificateLedger.windows`."""
        columns = CERTIFICATES.c
        wanted = select(columns.tenant, columns.window_key).where(*_of(service, table))
        with transaction(self._engine) as connection:
            return sorted((tenant, window) for tenant, window in connection.execute(wanted))

    def incomplete(self, *, service: str, table: str) -> Sequence[Certificate]:
        """See `CertificateLedger.incomplete`."""
        columns = CERTIFICATES.c
        is_short = and_(columns.is_settled, columns.source_rows > columns.stored_ids + columns.rows_rejected)
        return self._found(service, table, or_(is_short, columns.rows_rejected > 0))

    def _found(self, service: str, table: str, *conditions: ColumnElement[bool]) -> Sequence[Certificate]:
        wanted = select(*_COLUMNS.values()).where(*_of(service, table), *conditions)
        with transaction(self._engine) as connection:
            found = [Certificate(**dict(zip(_COLUMNS, row, strict=True))) for row in connection.execute(wanted)]
        # Sorted here: databases order texts differently.
        return sorted(found, key=attrgetter("tenant", "window"))


def _of(service: str, table: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return CERTIFICATES.c.service == service, CERTIFICATES.c.table_name == table
