"""The pace of each account: its turns, what its service said of limits, and its breaker."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table of paces."""
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "paces",
        sa.Column("service", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("next_turn", sa.BigInteger, nullable=False),
        sa.Column("not_before", moment),
        sa.Column("told", sa.Text, nullable=False),
        sa.Column("learned_per_minute", sa.Float(53)),
        sa.Column("learned_at", moment),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("opened_at", moment),
        sa.Column("open_until", moment),
        sa.Column("trial_until", moment),
        schema=op.get_context().version_table_schema,
    )
