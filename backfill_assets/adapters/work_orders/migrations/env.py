"""Alembic's entry point, which Alembic runs as a script for `adapters/work_orders/schema`.

Here belongs only how a connection that is open already is told to Alembic. The caller owns it and its transaction.
"""

from alembic import context

from backfill_assets.adapters.work_orders.tables import SCHEMA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=None,
    version_table=VERSION_TABLE,
    version_table_schema=SCHEMA,
    on_version_apply=context.config.attributes["on_version_apply"],
)
with context.begin_transaction():
    context.run_migrations()
