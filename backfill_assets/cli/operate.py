"""Commands about backfills in general, whatever their domain."""

import click

from backfill_assets.cli.command import BackfillCommand, Output
from backfill_assets.cli.tables import cancel_job, is_job, resume_job


@click.command(cls=BackfillCommand)
@click.argument("backfill_id", metavar="ID")
@click.pass_obj
def cancel(output: Output, backfill_id: str) -> None:
    """Stop the backfill ID and its queued and running runs.

    What is committed stays; the chunk in flight is read again by `backfill resume`.
    """
    if is_job(backfill_id):
        cancel_job(output, backfill_id)
        return
    from backfill_assets import launching
    from backfill_assets.cli.instance import open_instance
    from backfill_assets.settings import load_settings

    with open_instance(load_settings()) as instance:
        stopped = launching.cancel(instance, backfill_id)
    output.facts(
        {"backfill_id": backfill_id, "runs_stopped": stopped},
        text=f"stopped backfill {backfill_id} and {stopped} of its runs; `backfill resume {backfill_id}` goes on",
    )


@click.command(cls=BackfillCommand)
@click.argument("backfill_id", metavar="ID")
@click.option("--wait", is_flag=True, help="Show progress until it has ended.")
@click.pass_obj
def resume(output: Output, backfill_id: str, wait: bool) -> None:
    """Launch what the ended backfill ID left undone; a job of a table goes on after its last commit."""
    if is_job(backfill_id):
        resume_job(output, backfill_id, wait=wait)
        return
    from backfill_assets import launching
    from backfill_assets.cli.instance import asset_graph, open_instance
    from backfill_assets.cli.progress import until_ended
    from backfill_assets.resources import open_wiring
    from backfill_assets.settings import load_settings

    settings = load_settings()
    with open_instance(settings) as instance, open_wiring(settings) as wiring:
        launching.wait_until_canceled(instance, backfill_id)
        launched = launching.resume(instance, asset_graph(), backfill_id, lock=wiring.lock)
        verb = "launched" if launched.is_new else "already under way:"
        output.facts(
            {"backfill_id": launched.backfill_id, "is_new": launched.is_new},
            text=f"{verb} backfill {launched.backfill_id} for what {backfill_id} left undone",
        )
        if wait:
            until_ended(instance, launched.backfill_id, output)
