"""Rows on their way into PostgreSQL by COPY.

Here belongs how a batch becomes what COPY reads: records as CSV made by Arrow, results as rows of psycopg.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import psycopg

from backfill_assets.core.enriched import (
    StoredInsight,
    StoredVector,
)

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Iterable[Sequence[Any]]


def copy_table(connection: psycopg.Connection[Any], staged: str, records: "pa.Table") -> None:
    """Copy a table of records; nothing of it becomes a Python object."""
    import pyarrow as pa
    from pyarrow import csv

    buffer = pa.BufferOutputStream()
    # Texts are quoted and nulls are not, which is how the two are told apart.
    csv.write_csv(records, buffer, csv.WriteOptions(include_header=False, quoting_style="needed"))
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {staged}")
        with cursor.copy(f"COPY {staged} FROM STDIN (FORMAT csv)") as copy:
            copy.write(memoryview(buffer.getvalue()))


def copy_rows(connection: psycopg.Connection[Any], staged: str, rows: Rows) -> None:
    """Copy rows, in the order of the columns of the staging table."""
    with connection.cursor() as cursor:
        cursor.execute(f"TRUNCATE {staged}")
        with cursor.copy(f"COPY {staged} FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)


def scrubbed_rows(rules: str, texts: Mapping[str, str]) -> Rows:
    """Rows of `staged_scrubbed`."""
    return ((name, rules, _storable(text)) for name, text in texts.items())


def insight_rows(insights: Sequence[StoredInsight]) -> Rows:
    """Rows of `staged_insights`."""
    for one in insights:
        found = one.extraction.insight
        yield (
            one.order.id,
            _storable(found.component),
            _storable(found.fault),
            _storable(found.cause),
            # Escaped by JSON: jsonb takes no NUL, not even an escaped one.
            json.dumps([_storable(step) for step in found.resolution_steps], ensure_ascii=False),
            _storable(found.summary),
            found.confidence,
            one.quality,
            one.extraction.origin.method,
            one.extraction.origin.model_version,
            one.extraction.origin.prompt_version,
            one.order.text_hash,
            one.at,
        )


def vector_rows(vectors: Sequence[StoredVector]) -> Rows:
    """Rows of `staged_vectors`."""
    for one in vectors:
        version = one.version
        written = vector_text(one.values)
        yield (one.order.id, version.model, version.dimensions, written, one.method, one.order.text_hash, one.at)


def vector_text(values: Sequence[float]) -> str:
    """An embedding as pgvector reads it."""
    return str([float(value) for value in values])


def _storable(text: str) -> str:
    return text.replace("\0", "\ufffd")
