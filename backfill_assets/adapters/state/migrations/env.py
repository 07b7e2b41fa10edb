"""Alembic's entry point, which Alembic runs as a script for `adapters/state/schema`.

Here belongs only how a connection that is open already is told to Alembic. The caller owns it and its transaction.
"""

from alembic import context

from backfill_assets.adapters.state.tables import METADATA, SCHEMA, VERSION_TABLE

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    version_table_schema=SCHEMA if connection.dialect.name == "postgresql" else None,
    on_version_apply=context.config.attributes["on_version_apply"],
)
with context.begin_transaction():
    context.run_migrations()
