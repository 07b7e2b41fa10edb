"""Commands about work orders: launching their history, and searching in it."""

import asyncio
import getpass
from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.command import BackfillCommand, Output
from backfill_assets.errors import ConfigurationError, PermanentError, UsageError

# What the commands work with is imported when they run: `--help` should not wait for Dagster.
if TYPE_CHECKING:
    from backfill_assets.core.enriched import Hit
    from backfill_assets.resources import Wiring
    from backfill_assets.settings import Settings
    from backfill_assets.work_orders.asking import Asked

DAY = click.DateTime(["%Y-%m-%d"])


@click.command("work-orders", cls=BackfillCommand)
@click.option("--start-date", type=DAY, required=True, help="Orders from this day on.")
@click.option("--end-date", type=DAY, required=True, help="Orders up to and with this day.")
@click.option("--batch-size", type=click.IntRange(1, 100_000), help="Records committed at once. Default: the setting.")
@click.option("--max-records", type=click.IntRange(min=1), help="Records of a stage after which each run ends.")
@click.option("--no-ai", is_flag=True, help="Extract no insights.")
@click.option("--no-embeddings", is_flag=True, help="Make no embeddings.")
@click.option("--dry-run", is_flag=True, help="Show what would be launched, and change nothing.")
@click.option("--wait", is_flag=True, help="Show progress until it has ended.")
@click.pass_obj
def work_orders(
    output: Output,
    /,
    *,
    start_date: datetime,
    end_date: datetime,
    batch_size: int | None,
    max_records: int | None,
    no_ai: bool,
    no_embeddings: bool,
    dry_run: bool,
    wait: bool,
) -> None:
    """Launch work orders of these days, both included; what is up to date is not done again.

    A month of which only a part is meant, or that ends with --max-records, is done as far and not marked as done.
    """
    from backfill_assets.cli.instance import asset_graph, open_instance
    from backfill_assets.cli.progress import until_ended
    from backfill_assets.following import all_runs_succeeded
    from backfill_assets.resources import open_wiring
    from backfill_assets.settings import load_settings
    from backfill_assets.work_orders.asking import launch_orders

    settings = load_settings()
    _require_on(settings)
    with open_instance(settings) as instance, open_wiring(settings) as wiring:
        asked = _asked(
            wiring,
            start_date.date(),
            end_date.date(),
            stages=_stages(no_ai, no_embeddings),
            batch_size=batch_size,
            most_records=max_records,
        )
        facts = _facts(wiring, asked)
        output.remark(
            f"{facts['records']} records in {len(asked.months)} months ({', '.join(asked.stages)}) = "
            f"{asked.partitions} partitions, in about {asked.runs} runs"
        )
        if dry_run:
            output.facts(facts, text="nothing was launched (--dry-run)")
            return
        words = {"reason": "asked for by work-orders", "requested_by": f"{getpass.getuser()} (backfill work-orders)"}
        launched = launch_orders(wiring, instance, asset_graph(), asked, **words)
        known = f"backfill {launched.backfill_id} for the same target is already under way; nothing was launched"
        text = f"launched backfill {launched.backfill_id}" if launched.is_new else known
        output.facts({**facts, "backfill_id": launched.backfill_id, "is_new": launched.is_new}, text=text)
        if wait:
            try:
                until_ended(instance, launched.backfill_id, output)
            except PermanentError:
                # One that does a part of a month completes no partition, which is a failed one to Dagster.
                is_part = max_records is not None or asked.first_day is not None or asked.last_day is not None
                if not is_part or not all_runs_succeeded(instance, launched.backfill_id):
                    raise
                output.remark("all runs have ended well; months of which only a part was meant are not marked as done")


@click.command(cls=BackfillCommand)
@click.argument("text")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many at most.")
@click.pass_obj
def search(output: Output, text: str, limit: int) -> None:
    """Show the work orders nearest in meaning to TEXT, which is scrubbed before it leaves."""
    from rich.table import Table

    from backfill_assets.resources import open_wiring
    from backfill_assets.settings import load_settings

    settings = load_settings()
    _require_on(settings)
    with open_wiring(settings) as wiring:
        hits = asyncio.run(_search(wiring, text, limit))
    rows: list[dict[str, Any]] = [
        {"id": hit.id, "date": hit.at.isoformat(), "similarity": round(hit.similarity, 4), "text": hit.text}
        | dict(hit.insight)
        for hit in hits
    ]
    table = Table("id", "date", "similarity", "summary or text")
    for row in rows:
        table.add_row(row["id"], row["date"][:10], f"{row['similarity']:.3f}", row.get("summary") or row["text"] or "")
    output.table(rows, table)
    if not rows:
        output.remark("nothing is embedded by this model yet; `backfill work-orders` does that")


async def _search(wiring: "Wiring", text: str, limit: int) -> "Sequence[Hit]":
    from backfill_assets.work_orders.embedding import search as nearest

    with wiring.orders.target() as target, wiring.orders.scrubber() as scrubber:
        async with wiring.orders.provider() as provider:
            return await nearest(target, scrubber, provider.embedder, text, limit=limit)


def _require_on(settings: "Settings") -> None:
    from backfill_assets.configuration.domains import WORK_ORDERS
    from backfill_assets.configuration.work_orders import WORK_ORDERS_DATABASE

    if settings.work_orders_database_url is None:
        raise ConfigurationError(f"work orders are switched off; set {WORK_ORDERS_DATABASE}, and restart Dagster")
    if WORK_ORDERS not in settings.domains:
        raise ConfigurationError(f"BACKFILL_DOMAINS leaves {WORK_ORDERS} out; name it there, and restart Dagster")


def _stages(no_ai: bool, no_embeddings: bool) -> Sequence[str]:
    from backfill_assets.work_orders.outcomes import EMBEDDING, ENRICHMENT, STAGES

    left_out = {ENRICHMENT: no_ai, EMBEDDING: no_embeddings}
    return [stage for stage in STAGES if not left_out.get(stage)]


def _asked(wiring: "Wiring", first: date, last: date, **how: Any) -> "Asked":
    from backfill_assets.work_orders.asking import Asked
    from backfill_assets.work_orders.partitions import months_until, spans

    if first > last:
        raise UsageError(f"--end-date {last} is before --start-date {first}")
    start = wiring.settings.work_orders_start
    known = {month.key: month for month in months_until(start, wiring.clock())}
    found = spans(start, known, first_day=first, last_day=last)
    if not found:
        raise UsageError(
            f"no month from BACKFILL_WORK_ORDERS_START_DATE ({start}) to today holds {first} to {last}; set it "
            "earlier, or ask for other days"
        )
    # Days that do not cut a month are not said: whole months are done as such.
    return Asked(
        months=[span.month for span in found],
        first_day=None if found[0].start == found[0].month.start else first,
        last_day=None if found[-1].end == found[-1].month.end else last,
        **how,
    )


def _facts(wiring: "Wiring", asked: "Asked") -> dict[str, Any]:
    from backfill_assets.work_orders.partitions import spans

    keys = [month.key for month in asked.months]
    start = wiring.settings.work_orders_start
    with wiring.orders.source() as source:
        wanted = spans(start, keys, first_day=asked.first_day, last_day=asked.last_day)
        records = sum(source.standing(span).records for span in wanted)
    return {
        "records": records,
        "months": keys,
        "stages": list(asked.stages),
        **asked.config,
        "partitions": asked.partitions,
        "runs": asked.runs,
    }
