"""Commands about the history of tenants' services."""

import getpass
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.command import BackfillCommand, Output
from backfill_assets.errors import BackfillError, PermanentError, UsageError

# What a command works with is imported when it runs: `--help` should not wait for Dagster.
if TYPE_CHECKING:
    from dagster import DagsterInstance

    from backfill_assets.core.pacing import OpenBreaker
    from backfill_assets.resources import Wiring
    from backfill_assets.settings import TenantService
    from backfill_assets.tenant_history.plan import HistoryPlan

    Breakers = Mapping[tuple[str, str], OpenBreaker]


@click.command(cls=BackfillCommand)
@click.option("--tenant-id", help="The tenant whose history to fill in.")
@click.option("--service", help="The service to read, for example connectwise.")
@click.option("--table-name", help="Only this table, for example service/tickets.")
@click.option("--start-date", help="ISO 8601; UTC where it names no zone. Default: the service's lookback.")
@click.option("--end-date", help="ISO 8601, exclusive. Default: now.")
@click.option("--chunk-size-days", type=click.IntRange(min=1), help="Days that are read and committed at once.")
@click.option("--auto-detect", is_flag=True, help="Launch every service that detection finds.")
@click.option("--dry-run", is_flag=True, help="Show what would be launched, and change nothing.")
@click.option("--wait", is_flag=True, help="Show progress until it has ended.")
@click.pass_obj
def trigger(output: Output, /, *, auto_detect: bool, dry_run: bool, wait: bool, **target: Any) -> None:
    """Launch the history of a tenant's service, or of all that detection finds."""
    from backfill_assets.cli.instance import open_instance
    from backfill_assets.resources import open_wiring
    from backfill_assets.settings import load_settings

    _check_usage(auto_detect, target)
    settings = load_settings()
    with open_instance(settings) as instance, open_wiring(settings) as wiring:
        if auto_detect:
            _trigger_detected(output, instance, wiring, dry_run=dry_run, wait=wait)
        else:
            _trigger_one(output, instance, wiring, target, dry_run=dry_run, wait=wait)


def _check_usage(auto_detect: bool, target: dict[str, Any]) -> None:
    given = [f"--{name.replace('_', '-')}" for name, value in target.items() if value is not None]
    if auto_detect and given:
        raise UsageError(f"--auto-detect finds its targets by itself; leave out {', '.join(given)}")
    if not auto_detect and not (target["tenant_id"] and target["service"]):
        raise UsageError("say what to launch: --tenant-id and --service, or --auto-detect")


def _trigger_one(
    output: Output, instance: "DagsterInstance", wiring: "Wiring", target: dict[str, Any], *, dry_run: bool, wait: bool
) -> None:
    from backfill_assets.cli.instance import asset_graph
    from backfill_assets.cli.progress import until_ended
    from backfill_assets.tenant_history.hours import closed
    from backfill_assets.tenant_history.onboarding import check_connection, launch_history

    service = wiring.tenant_service(target["tenant_id"], target["service"])
    plan = _plan(wiring, service, target)
    output.remark(describe(plan))
    pause = closed(service, wiring.clock())
    if pause is not None:
        output.remark(f"{service.tenant} is outside of its backfill hours: it waits until {pause.opens}")
    if dry_run:
        output.facts(_plan_facts(plan), text="nothing was launched (--dry-run)")
        return
    check_connection(wiring, service)
    asked = {"reason": "asked for by backfill trigger", "requested_by": f"{getpass.getuser()} (backfill trigger)"}
    launched = launch_history(wiring, instance, asset_graph(), service, plan, **asked)
    text = f"launched backfill {launched.backfill_id}"
    text += f", which is paused and goes on by itself at {pause.opens}" if pause else ""
    known = f"backfill {launched.backfill_id} for the same target is already under way; nothing was launched"
    waits = {"paused_until": pause.until.isoformat()} if pause else {}
    facts = {"backfill_id": launched.backfill_id, "is_new": launched.is_new, **waits}
    output.facts({**_plan_facts(plan), **facts}, text=text if launched.is_new else known)
    if wait:
        until_ended(instance, launched.backfill_id, output)


def _plan(wiring: "Wiring", service: "TenantService", target: dict[str, Any]) -> "HistoryPlan":
    from backfill_assets.tenant_history.onboarding import per_run
    from backfill_assets.tenant_history.plan import parse_moment, plan_history

    name, start, end = target["table_name"], target["start_date"], target["end_date"]
    table = service.spec.table(name) if name else None
    if name and table is None:
        tables = ", ".join(table.name for table in service.spec.tables)
        raise UsageError(f"{service.spec.name} has no table {name!r}; it has {tables}")
    return plan_history(
        service.spec,
        wiring.clock(),
        windows_per_run=per_run(wiring, service),
        tables=None if table is None else [table],
        start=None if start is None else parse_moment(start, "--start-date"),
        end=None if end is None else parse_moment(end, "--end-date"),
        chunk_size_days=target["chunk_size_days"],
    )


def describe(plan: "HistoryPlan") -> str:
    """A plan in one sentence: what it covers, in whole windows, and how it is cut."""
    first, last = plan.windows[0], plan.windows[-1]
    return (
        f"{_many(len(plan.tables), 'table')} x {_many(len(plan.windows), f'{plan.spec.grain} window')} "
        f"({first.key} to {last.end.date()}) = {_many(plan.partitions, 'partition')}, in {_many(plan.runs, 'run')}, "
        f"chunks of {_many(plan.chunks[0].days, 'day')}"
    )


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _plan_facts(plan: "HistoryPlan") -> dict[str, Any]:
    return {
        "tables": [table.name for table in plan.tables],
        "start": plan.windows[0].start.isoformat(),
        "end": plan.windows[-1].end.isoformat(),
        "partitions": plan.partitions,
        "runs": plan.runs,
        "chunk_days": plan.chunks[0].days,
    }


def _trigger_detected(
    output: Output, instance: "DagsterInstance", wiring: "Wiring", *, dry_run: bool, wait: bool
) -> None:
    from backfill_assets.cli.instance import asset_graph
    from backfill_assets.cli.progress import until_ended
    from backfill_assets.tenant_history.detection import Verdict
    from backfill_assets.tenant_history.onboarding import onboard, survey

    if dry_run:
        found = [f for f in survey(wiring, instance) if f.judgement.verdict is Verdict.BACKFILL]
        lines = [f"would launch {f.service.tenant} {f.service.spec.name}: {f.judgement.reason}" for f in found]
        output.facts({"would_launch": lines}, text="\n".join(lines) or "no tenant service is new")
        return
    started = list(onboard(wiring, instance, asset_graph(), requested_by=f"{getpass.getuser()} (--auto-detect)"))
    launched = [s.launched.backfill_id for s in started if s.launched and s.launched.is_new]
    active = [s.launched.backfill_id for s in started if s.launched and not s.launched.is_new]
    problems = [f"{s.finding.service.tenant} {s.finding.service.spec.name}: {s.problem}" for s in started if s.problem]
    text = f"launched {', '.join(launched)}" if launched else "nothing was launched"
    text += f"; already under way: {', '.join(active)}" if active else ""
    output.facts({"launched": launched, "already_under_way": active, "problems": problems}, text=text)
    for backfill_id in (*launched, *active) if wait else ():
        try:
            until_ended(instance, backfill_id, output)
        except PermanentError as error:
            problems.append(str(error))
    if problems:
        raise PermanentError("; ".join(problems))


@click.command(cls=BackfillCommand)
@click.option("--no-check", is_flag=True, help="Do not try the connections.")
@click.pass_obj
def services(output: Output, no_check: bool) -> None:
    """Show each tenant's services: verdict, reason, backfill hours, and whether the connection works."""
    from rich.table import Table

    from backfill_assets.cli.instance import open_instance
    from backfill_assets.resources import open_wiring
    from backfill_assets.settings import load_settings
    from backfill_assets.tenant_history.hours import described
    from backfill_assets.tenant_history.onboarding import survey

    settings = load_settings()
    with open_instance(settings) as instance, open_wiring(settings) as wiring:
        breakers = {(breaker.tenant, breaker.service): breaker for breaker in wiring.breakers()}
        rows = [
            {
                "tenant": finding.service.tenant,
                "service": finding.service.spec.name,
                "verdict": str(finding.judgement.verdict),
                "reason": finding.judgement.reason,
                "backfill_hours": described(finding.service),
                "connection": "; ".join(_connection(wiring, finding.service, breakers, no_check=no_check)),
            }
            for finding in survey(wiring, instance)
        ]
    for note in settings.notes:
        output.remark(note)
    table = Table()
    names = ("tenant", "service", "verdict", "reason", "backfill_hours", "connection")
    shown = [name for name in names if name != "backfill_hours" or any(row[name] for row in rows)]
    for name in shown:
        # Folded, not cut: the end of a variable's name is what a person must read.
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(row[name] for name in shown))
    output.table(rows, table)


def _connection(wiring: "Wiring", service: "TenantService", breakers: "Breakers", *, no_check: bool) -> Iterator[str]:
    """Whether the connection works now, and why runs do not use it, if they do not."""
    from backfill_assets.tenant_history.onboarding import check_connection

    if no_check or not service.enabled or service.missing:
        yield "not tried"
    else:
        try:
            yield check_connection(wiring, service)
        except BackfillError as error:
            yield f"fails: {error}"
    if breaker := breakers.get((service.tenant, service.spec.name)):
        yield (
            f"not used by runs since {breaker.opened_at:%Y-%m-%d %H:%M:%S} UTC: failed {breaker.failures} times in a "
            f"row, last: {breaker.reason}"
        )
