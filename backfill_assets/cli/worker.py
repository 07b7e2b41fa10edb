"""The command that executes runs."""

from typing import TYPE_CHECKING

import click

from backfill_assets.cli.command import BackfillCommand, Output
from backfill_assets.errors import ConfigurationError, TransientError

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from backfill_assets.celery_run_launcher import WorkerRunLauncher


@click.command(cls=BackfillCommand)
@click.option(
    "--concurrency", type=click.IntRange(min=1), help="Runs at once. Default: max_concurrent_runs of dagster.yaml."
)
@click.option(
    "--queue", "queues", multiple=True, help="Only runs whose tag dagster-celery/queue names it. Default: dagster."
)
@click.pass_context
def worker(ctx: click.Context, /, *, concurrency: int | None, queues: tuple[str, ...]) -> None:
    """Execute runs: a Celery worker of this project.

    Ctrl-C or SIGTERM ends it: runs under way stop at their next commit, and another worker does the rest.
    """
    from backfill_assets.celery_run_launcher import QUEUE
    from backfill_assets.celery_worker import load_code, run_worker
    from backfill_assets.cli.instance import open_instance
    from backfill_assets.configuration.process_metadata import CELERY_ENABLED
    from backfill_assets.settings import load_settings

    settings = load_settings()
    if not settings.celery_enabled:
        raise ConfigurationError(
            f"{CELERY_ENABLED} is not true, so no run would ever reach this worker; set it to true, and let "
            "dagster.yaml launch runs with WorkerRunLauncher (docs/celery.md)"
        )
    with open_instance(settings) as instance:
        launcher = _launcher(instance)
        concurrency = concurrency or _all_runs_at_once(instance)
    _require_broker(launcher)
    load_code()
    output: Output = ctx.obj
    text = f"executing up to {concurrency} runs at once from {launcher.address}; Ctrl-C ends it"
    ctx.exit(
        run_worker(
            launcher.celery,
            concurrency=concurrency,
            queues=queues or (QUEUE,),
            ready=lambda: output.remark(text),
        )
    )


def _launcher(instance: "DagsterInstance") -> "WorkerRunLauncher":
    """The launcher of the instance, whose settings are the worker's too."""
    from backfill_assets.celery_run_launcher import WorkerRunLauncher

    launcher = instance.run_launcher
    if not isinstance(launcher, WorkerRunLauncher):
        raise ConfigurationError(
            f"dagster.yaml in {instance.root_directory} launches runs with {type(launcher).__name__}, so none would "
            "ever reach this worker; give it WorkerRunLauncher (docs/celery.md)"
        )
    return launcher


def _all_runs_at_once(instance: "DagsterInstance") -> int:
    """As many as Dagster lets run; one where it knows no limit."""
    limit = instance.get_concurrency_config().run_queue_config
    return max(1, limit.max_concurrent_runs) if limit else 1


def _require_broker(launcher: "WorkerRunLauncher") -> None:
    from kombu.exceptions import OperationalError

    from backfill_assets.configuration.process_metadata import CELERY_BROKER_URL

    try:
        launcher.require_broker()
    except OperationalError as error:
        reason = str(error).partition("\n")[0]
        raise TransientError(
            f"the broker {launcher.address} cannot be reached ({reason}); start it, or set {CELERY_BROKER_URL} to "
            "where it is"
        ) from None
