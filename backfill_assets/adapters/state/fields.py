"""Known metadata fields in the state database.

Here belong the statements behind `core.metadata.FieldLedger` and nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Connection, Engine, delete, insert, select

from backfill_assets.adapters.state.connecting import transaction
from backfill_assets.adapters.state.tables import METADATA_FIELDS, PROCESS_MODELS
from backfill_assets.adapters.state.upserts import upsert
from backfill_assets.core.metadata import Paths

BOUND = 500
"""How many models one statement names: a database takes only so many values at once."""


class SqlFields:
    """A `FieldLedger` on PostgreSQL or SQLite."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def known(self) -> Mapping[str, Paths | None]:
        """See `FieldLedger.known`; both tables at one moment, since a writer changes them together."""
        models, fields = PROCESS_MODELS.c, METADATA_FIELDS.c
        both = PROCESS_MODELS.outerjoin(METADATA_FIELDS, models.model == fields.model)
        wanted = select(models.model, models.was_read, fields.field_key, fields.path).select_from(both)
        found: dict[str, dict[str, str] | None] = {}
        with transaction(self._engine) as connection:
            for model, was_read, key, path in connection.execute(wanted):
                paths = found.setdefault(model, {} if was_read else None)
                if paths is not None and key is not None:
                    paths[key] = path
        return found

    def remember(self, seen: Mapping[str, Paths | None]) -> None:
        """See `FieldLedger.remember`; in an order that is the same for all writers."""
        if not seen:
            return
        models = [{"model": model, "was_read": seen[model] is not None} for model in sorted(seen)]
        fields = [
            {"model": model, "field_key": key, "path": path}
            for model in sorted(seen)
            for key, path in sorted((seen[model] or {}).items())
        ]
        with transaction(self._engine) as connection:
            # First of all, so that two writers of one model wait for each other here.
            connection.execute(upsert(self._engine, PROCESS_MODELS, key=["model"]), models)
            _drop_fields(connection, sorted(seen))
            if fields:
                connection.execute(insert(METADATA_FIELDS), fields)

    def forget(self, models: Iterable[str]) -> None:
        """See `FieldLedger.forget`."""
        names = sorted(models)
        with transaction(self._engine) as connection:
            for some in _bounded(names):
                connection.execute(delete(PROCESS_MODELS).where(PROCESS_MODELS.c.model.in_(some)))
            _drop_fields(connection, names)


def _drop_fields(connection: Connection, models: Sequence[str]) -> None:
    for some in _bounded(models):
        connection.execute(delete(METADATA_FIELDS).where(METADATA_FIELDS.c.model.in_(some)))


def _bounded(models: Sequence[str]) -> Iterable[Sequence[str]]:
    return (models[start : start + BOUND] for start in range(0, len(models), BOUND))
