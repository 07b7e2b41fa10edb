"""An installation of the product: its database, full of instances of one model, and that model's file.

Here belongs what the demo needs of the product: it is there, somebody adds a path to the model, and what the metadata
table must then hold is known from how the instances were made.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import create_engine, text

from backfill_assets.configuration.process_metadata import METADATA_ENABLED, PROCESS_MODELS, PRODUCT_DATABASE
from backfill_assets.core.windows import utc_now
from backfill_assets.sandbox.postgres import EmbeddedPostgres
from backfill_assets.sandbox.spiffworkflow import bulk, schema

DATABASE = "spiffworkflow"
MODEL = "orders/invoice"
KNOWN = ("invoice_total", "invoice.total")
"""The key and the path that the model has from the beginning; what there was before is adopted, not filled."""
NEW = ("invoice_number", "invoice.number")
"""What somebody adds."""
YEAR = timedelta(days=365)

EXPECTED = """
SELECT count(*) AS wanted, count(*) FILTER (WHERE found.value = 'INV-' || instance.id) AS held,
    count(*) FILTER (WHERE found.value <> 'INV-' || instance.id) AS wrong,
    (SELECT count(*) FROM process_instance_metadata WHERE key = :key) AS rows
FROM process_instance AS instance
LEFT JOIN process_instance_metadata AS found ON found.process_instance_id = instance.id AND found.key = :key
WHERE instance.id % 20 <> 0
"""
"""Every twentieth instance has no invoice (`bulk.py`); all others have its number."""


@dataclass(frozen=True, kw_only=True)
class Filled:
    """Of `wanted` instances with a value, how many rows hold it, hold another one, and how many there are in all."""

    wanted: int
    held: int
    wrong: int
    rows: int

    @property
    def is_whole(self) -> bool:
        """Whether each has its row, and there is no other."""
        return self.wanted == self.held == self.rows and not self.wrong


@dataclass(frozen=True, kw_only=True)
class Installation:
    """The product in the folder `home` and in a database of the embedded PostgreSQL."""

    home: Path
    postgres: EmbeddedPostgres
    instances: int = 5000

    @property
    def variables(self) -> dict[str, str]:
        """What the product's own settings say of it."""
        return {
            METADATA_ENABLED: "true",
            PRODUCT_DATABASE: self.postgres.url(DATABASE),
            PROCESS_MODELS: str(self._models),
        }

    @property
    def is_extended(self) -> bool:
        """Whether somebody has added the path."""
        return NEW[0] in self._model_file.read_text()

    def prepare(self) -> None:
        """Make it, unless it is there; one that was left half made is made anew."""
        ready = self.home / "ready"
        if ready.exists():
            return
        self.postgres.drop_database(DATABASE)
        self.postgres.create_database(DATABASE)
        engine = create_engine(self.postgres.url(DATABASE))
        try:
            schema.create(engine)
            now = utc_now()
            bulk.fill(engine, model=MODEL, instances=self.instances, since=now - YEAR, until=now)
        finally:
            engine.dispose()
        self._write_model(KNOWN)
        ready.touch()

    def extend(self) -> None:
        """Add the path, as somebody does who wants the number of every invoice in the reports."""
        self._write_model(KNOWN, NEW)

    def filled(self) -> Filled:
        """How far the new field is filled, counted apart from the code that fills it."""
        engine = create_engine(self.postgres.url(DATABASE))
        try:
            with engine.connect() as connection:
                [row] = connection.execute(text(EXPECTED), {"key": NEW[0]}).mappings()
                return Filled(**row)
        finally:
            engine.dispose()

    @property
    def _models(self) -> Path:
        return self.home / "models"

    @property
    def _model_file(self) -> Path:
        return self._models / MODEL / "process_model.json"

    def _write_model(self, *paths: tuple[str, str]) -> None:
        self._model_file.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "display_name": "Invoice",
            "primary_file_name": "invoice.bpmn",
            "metadata_extraction_paths": [{"key": key, "path": path} for key, path in paths],
        }
        draft = self._model_file.with_suffix(".draft")
        draft.write_text(json.dumps(content, indent=4))
        draft.replace(self._model_file)
