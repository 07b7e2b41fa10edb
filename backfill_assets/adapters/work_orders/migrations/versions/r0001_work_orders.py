"""Work orders, what was extracted from them, their embeddings, and how far each month has come.

Columns are named as existing installations name them at the time of the specification.
"""

from alembic import context, op

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE work_orders.maintenance_logs (
    notification_id text PRIMARY KEY,
    notification_date timestamptz NOT NULL,
    notification_assigned_date timestamptz,
    notification_closed_date timestamptz,
    noti_category_id text,
    sys_eq_id text,
    noti_country_id text,
    sys_fl_id text,
    sys_mat_id text,
    sys_serial_id text,
    notification_trendcode_l1 text,
    notification_trendcode_l2 text,
    notification_trendcode_l3 text,
    notification_medium_text text,
    notification_text text NOT NULL,
    text_hash text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX maintenance_logs_position ON work_orders.maintenance_logs (notification_date, notification_id COLLATE "C");

CREATE TABLE work_orders.scrubbed_texts (
    text_hash text PRIMARY KEY,
    rules_version text NOT NULL,
    scrubbed_text text NOT NULL
);

CREATE TABLE work_orders.ai_extracted_data (
    notification_id text PRIMARY KEY REFERENCES work_orders.maintenance_logs ON DELETE CASCADE,
    component text NOT NULL,
    fault text NOT NULL,
    cause text NOT NULL,
    resolution_steps jsonb NOT NULL,
    summary text NOT NULL,
    confidence double precision,
    quality double precision NOT NULL,
    method text NOT NULL,
    model_version text NOT NULL,
    prompt_version text NOT NULL,
    text_hash text NOT NULL,
    extracted_at timestamptz NOT NULL
);
CREATE INDEX ai_extracted_data_quality ON work_orders.ai_extracted_data (quality);

CREATE TABLE work_orders.semantic_embeddings (
    notification_id text PRIMARY KEY REFERENCES work_orders.maintenance_logs ON DELETE CASCADE,
    model text NOT NULL,
    dimensions integer NOT NULL,
    vector public.vector({dimensions}) NOT NULL,
    method text NOT NULL,
    text_hash text NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE work_orders.etl_metadata (
    table_name text PRIMARY KEY,
    last_successful_extraction timestamptz,
    last_backfill_cursor text,
    is_open boolean NOT NULL DEFAULT false,
    records_processed bigint NOT NULL DEFAULT 0,
    last_run_duration_seconds double precision,
    last_error text,
    updated_at timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    """Make the tables; how many dimensions an embedding has is fixed here."""
    dimensions = int(context.config.attributes["dimensions"])
    op.execute(TABLES.format(dimensions=dimensions))
