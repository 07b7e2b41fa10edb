"""What is known to be in the lake, and from when on incremental sync reads."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables of certificates and hand-offs."""
    schema = op.get_context().version_table_schema
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "certificates",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("window_key", sa.Text, primary_key=True),
        sa.Column("source_rows", sa.BigInteger, nullable=False),
        sa.Column("rows_rejected", sa.BigInteger, nullable=False),
        sa.Column("stored_rows", sa.BigInteger, nullable=False),
        sa.Column("stored_ids", sa.BigInteger, nullable=False),
        sa.Column("identity_digest", sa.String(64), nullable=False),
        sa.Column("content_digest", sa.String(64), nullable=False),
        sa.Column("began_at", moment, nullable=False),
        sa.Column("taken_at", moment, nullable=False),
        sa.Column("is_settled", sa.Boolean, nullable=False),
        sa.Column("code_version", sa.Text, nullable=False),
        schema=schema,
    )
    op.create_index("certificates_table", "certificates", ["service", "table_name"], schema=schema)
    op.create_table(
        "handoffs",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("table_name", sa.Text, primary_key=True),
        sa.Column("history_from", moment, nullable=False),
        sa.Column("first_request_at", moment),
        schema=schema,
    )
