"""Which metadata fields of which process models have been seen."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables of process models and of their fields."""
    schema = op.get_context().version_table_schema
    op.create_table(
        "process_models",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("was_read", sa.Boolean, nullable=False),
        schema=schema,
    )
    op.create_table(
        "metadata_fields",
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("field_key", sa.Text, primary_key=True),
        sa.Column("path", sa.Text, nullable=False),
        schema=schema,
    )
