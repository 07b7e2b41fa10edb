"""Names of the tables of work orders and the statements on them.

Here belongs the SQL, and the revision that it needs. How the tables get there belongs to `migrations`, running the
statements to `database.py`. Ids are ordered by their bytes (COLLATE "C"), as Snowflake orders them.
"""

from backfill_assets.core.orders import (
    COLUMNS,
    DATE,
    DATES,
    ID,
    TEXT,
)

SCHEMA = "work_orders"
VERSION_TABLE = "alembic_version"
REVISION = "0001"
"""The revision this code works with: the newest one in `migrations`."""

HASH = f"encode(sha256(convert_to({TEXT}, 'UTF8')), 'hex')"
"""As `core.orders.text_hash`."""

_KEPT = [name for name in COLUMNS if name != ID]
_OLD, _NEW = (", ".join(f"{row}.{name}" for name in _KEPT) for row in ("old", "EXCLUDED"))
_CHANGED = f"({_OLD}) IS DISTINCT FROM ({_NEW})"

STAGING = {
    "staged_orders": ", ".join(f"{name} {'timestamptz' if name in DATES else 'text'}" for name in COLUMNS),
    "staged_scrubbed": "text_hash text, rules_version text, scrubbed_text text",
    "staged_insights": (
        "notification_id text, component text, fault text, cause text, resolution_steps jsonb, summary text, "
        "confidence double precision, quality double precision, method text, model_version text, prompt_version text, "
        "text_hash text, extracted_at timestamptz"
    ),
    "staged_vectors": (
        "notification_id text, model text, dimensions integer, vector text, method text, text_hash text, "
        "created_at timestamptz"
    ),
}
"""Temporary tables that rows are copied into, of each connection."""

STORE = f"""
INSERT INTO work_orders.maintenance_logs AS old ({", ".join(COLUMNS)}, text_hash)
SELECT {", ".join(COLUMNS)}, {HASH} FROM staged_orders ORDER BY {ID} COLLATE "C"
ON CONFLICT ({ID}) DO UPDATE SET
    {", ".join(f"{name} = EXCLUDED.{name}" for name in (*_KEPT, "text_hash"))}, updated_at = now()
WHERE {_CHANGED}
"""  # noqa: S608 - names of ours

PUT_SCRUBBED = """
INSERT INTO work_orders.scrubbed_texts (text_hash, rules_version, scrubbed_text)
SELECT text_hash, rules_version, scrubbed_text FROM staged_scrubbed ORDER BY text_hash
ON CONFLICT (text_hash) DO UPDATE SET rules_version = EXCLUDED.rules_version, scrubbed_text = EXCLUDED.scrubbed_text
"""


def _put(table: str, staged: str, columns: str) -> str:
    """Insert or replace by the record's id; a record that is stored no more has lost its claim."""
    names = columns.split(", ")
    replaced = ", ".join(f"{name} = EXCLUDED.{name}" for name in names)
    chosen = ", ".join(f"staged.{name}" for name in names)
    return f"""
INSERT INTO work_orders.{table} ({ID}, {columns})
SELECT {ID}, {chosen} FROM {staged} AS staged JOIN work_orders.maintenance_logs USING ({ID})
ORDER BY {ID} COLLATE "C"
ON CONFLICT ({ID}) DO UPDATE SET {replaced}
"""  # noqa: S608 - names of ours


INSIGHT_COLUMNS = (
    "component, fault, cause, resolution_steps, summary, confidence, quality, method, model_version, prompt_version, "
    "text_hash, extracted_at"
)
VECTOR_COLUMNS = "model, dimensions, vector, method, text_hash, created_at"
PUT_INSIGHTS = _put("ai_extracted_data", "staged_insights", INSIGHT_COLUMNS)
PUT_VECTORS = _put("semantic_embeddings", "staged_vectors", VECTOR_COLUMNS).replace(
    "staged.vector,", "staged.vector::public.vector,"
)

PUT_CHECKPOINT = """
INSERT INTO work_orders.etl_metadata AS old (
    table_name, last_backfill_cursor, is_open, records_processed, last_run_duration_seconds,
    last_successful_extraction, last_error, updated_at
)
VALUES (%s, %s, %s, %s, %s, %s, %s, now())
ON CONFLICT (table_name) DO UPDATE SET
    last_backfill_cursor = EXCLUDED.last_backfill_cursor, is_open = EXCLUDED.is_open,
    records_processed = EXCLUDED.records_processed,
    last_run_duration_seconds = EXCLUDED.last_run_duration_seconds,
    last_successful_extraction = coalesce(EXCLUDED.last_successful_extraction, old.last_successful_extraction),
    last_error = EXCLUDED.last_error, updated_at = now()
"""

CHECKPOINT = """
SELECT last_backfill_cursor, is_open, records_processed, last_run_duration_seconds, last_successful_extraction,
    last_error
FROM work_orders.etl_metadata WHERE table_name = %s
"""

_DATED = f"{DATE} >= %(start)s AND {DATE} < %(end)s"

STANDING = f"""
SELECT count(*), coalesce(sum(('x' || left(md5({ID}), 10))::bit(40)::bigint), 0)
FROM work_orders.maintenance_logs WHERE {_DATED}
"""  # noqa: S608 - names of ours

_BEHIND_INSIGHTS = f"""
FROM work_orders.maintenance_logs AS logs LEFT JOIN work_orders.ai_extracted_data AS done
    ON done.{ID} = logs.{ID} AND done.text_hash = logs.text_hash
    AND done.model_version = %(model)s AND done.prompt_version = %(prompt)s
WHERE done.{ID} IS NULL AND {_DATED}
"""
_BEHIND_VECTORS = f"""
FROM work_orders.maintenance_logs AS logs LEFT JOIN work_orders.semantic_embeddings AS done
    ON done.{ID} = logs.{ID} AND done.text_hash = logs.text_hash
    AND done.model = %(model)s AND done.dimensions = %(dimensions)s
WHERE done.{ID} IS NULL AND {_DATED}
"""
_ORDER = f"SELECT logs.{DATE}, logs.{ID}, logs.{TEXT}, logs.text_hash"
_BEYOND = f"""
AND (logs.{DATE}, logs.{ID} COLLATE "C") > (%(after_at)s::timestamptz, %(after_id)s::text)
ORDER BY logs.{DATE}, logs.{ID} COLLATE "C" LIMIT %(limit)s
"""
BEHIND_INSIGHTS, COUNT_INSIGHTS = _ORDER + _BEHIND_INSIGHTS + _BEYOND, "SELECT count(*)" + _BEHIND_INSIGHTS
BEHIND_VECTORS, COUNT_VECTORS = _ORDER + _BEHIND_VECTORS + _BEYOND, "SELECT count(*)" + _BEHIND_VECTORS

ORDERS = f"""
SELECT {DATE}, {ID}, {TEXT}, text_hash FROM work_orders.maintenance_logs WHERE {ID} = ANY(%s)
ORDER BY {DATE}, {ID} COLLATE "C"
"""  # noqa: S608 - names of ours

SCRUBBED = """
SELECT text_hash, scrubbed_text FROM work_orders.scrubbed_texts WHERE rules_version = %s AND text_hash = ANY(%s)
"""

QUALITIES = f"""
SELECT least(floor(done.quality * 10 + 1e-9), 9)::integer AS tenth, count(*),
    count(*) FILTER (WHERE done.quality < %(flagged_below)s)
FROM work_orders.maintenance_logs AS logs JOIN work_orders.ai_extracted_data AS done USING ({ID})
WHERE done.text_hash = logs.text_hash AND done.model_version = %(model)s AND done.prompt_version = %(prompt)s
    AND {_DATED}
GROUP BY tenth
"""  # noqa: S608 - names of ours

INDEX = "semantic_embeddings_vector"
INDEX_VECTORS = f"""
CREATE INDEX IF NOT EXISTS {INDEX} ON work_orders.semantic_embeddings USING hnsw (vector public.vector_cosine_ops)
"""
ONE_INDEX_AT_A_TIME = "SELECT pg_advisory_lock(hashtextextended('backfill_assets work_orders index', 0))"
NEXT_INDEX = "SELECT pg_advisory_unlock(hashtextextended('backfill_assets work_orders index', 0))"

NEAREST = f"""
SELECT near.{ID}, logs.{DATE}, 1 - near.distance, scrubbed.scrubbed_text,
    done.component, done.fault, done.cause, done.summary
FROM (
    SELECT {ID}, vector OPERATOR(public.<=>) %(wanted)s::public.vector AS distance, model
    FROM work_orders.semantic_embeddings WHERE model = %(model)s AND dimensions = %(dimensions)s
    ORDER BY vector OPERATOR(public.<=>) %(wanted)s::public.vector LIMIT %(limit)s
) AS near
JOIN work_orders.maintenance_logs AS logs USING ({ID})
LEFT JOIN work_orders.scrubbed_texts AS scrubbed ON scrubbed.text_hash = logs.text_hash
LEFT JOIN work_orders.ai_extracted_data AS done USING ({ID})
ORDER BY near.distance, near.{ID} COLLATE "C"
"""  # noqa: S608 - names of ours
