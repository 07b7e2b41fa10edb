"""What was spent on AI by all processes, and when the next tokens are due."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table of budgets."""
    op.create_table(
        "budgets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("tokens_in", sa.BigInteger, nullable=False),
        sa.Column("tokens_out", sa.BigInteger, nullable=False),
        sa.Column("nanodollars", sa.BigInteger, nullable=False),
        sa.Column("tokens_due", sa.BigInteger, nullable=False),
        schema=op.get_context().version_table_schema,
    )
