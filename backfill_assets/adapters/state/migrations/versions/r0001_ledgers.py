"""Dead letters and service switches.

A revision spells out the tables as they were in its time; it imports nothing that later revisions change.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the first two tables."""
    schema = op.get_context().version_table_schema
    names = "domain tenant service table_name partition_key record_id version reason payload run_id"
    op.create_table(
        "dead_letters",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), sa.Identity(), primary_key=True),
        sa.Column("identity", sa.String(64), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in names.split()),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        schema=schema,
    )
    op.create_index("dead_letters_identity", "dead_letters", ["identity"], unique=True, schema=schema)
    place = ["domain", "tenant", "service", "table_name"]
    op.create_index("dead_letters_place", "dead_letters", place, schema=schema)
    op.create_table(
        "service_switches",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        schema=schema,
    )
