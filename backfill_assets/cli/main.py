"""The `backfill` command: its groups, gathered. What each command does belongs to the module of its subject."""

import click

from backfill_assets.cli.dead_letters import dead_letters
from backfill_assets.cli.metadata import metadata
from backfill_assets.cli.operate import cancel, resume
from backfill_assets.cli.reconcile import reconcile
from backfill_assets.cli.reconcile_table import table as reconcile_table
from backfill_assets.cli.sandbox import demo, sandbox
from backfill_assets.cli.state import init
from backfill_assets.cli.tables import delete, jobs, status, table, tables
from backfill_assets.cli.tenant_history import services, trigger
from backfill_assets.cli.work_orders import search, work_orders
from backfill_assets.cli.worker import worker


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="backfill_assets")
def main() -> None:
    """Fill in history, safely, while systems keep running.

    Works against the Dagster instance in DAGSTER_HOME. Every command has --help; exit code 0 done, 1 failed,
    2 wrong usage.
    """


reconcile.add_command(reconcile_table)
for command in (
    trigger,
    metadata,
    table,
    services,
    tables,
    work_orders,
    search,
    jobs,
    status,
    cancel,
    resume,
    delete,
    dead_letters,
    reconcile,
    init,
    worker,
    sandbox,
    demo,
):
    main.add_command(command)
