"""Commands that compare what was filled in with its source again.

Here belongs what is asked for and what is told. What is compared, and how, belongs to the domains.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.command import BackfillCommand, Output
from backfill_assets.errors import BackfillError, PermanentError, UsageError

if TYPE_CHECKING:
    from backfill_assets.core.source import RecordSource, TableSpec
    from backfill_assets.resources import Wiring
    from backfill_assets.settings import TenantService
    from backfill_assets.tenant_history.reconciling.reconcile import Reconciled, TableReconcile
    from backfill_assets.tenant_history.reconciling.rehashing import Changed

    Results = Mapping[str, Reconciled]

SHOWN = 5
COLUMNS = ("compared", "source", "lake", "missing", "gone", "changed", "counts")


@click.group()
def reconcile() -> None:
    """Is everything there? Compare what was filled in with its source again, at any time."""


@reconcile.command(cls=BackfillCommand)
@click.option("--tenant-id", required=True, help="The tenant whose history to compare.")
@click.option("--service", required=True, help="The service, for example connectwise.")
@click.option("--table-name", help="Only this table, for example service/tickets.")
@click.option("--start-date", help="ISO 8601; UTC where it names no zone. Default: where the history begins.")
@click.option("--end-date", help="ISO 8601, exclusive. Default: what incremental sync has read.")
@click.option("--deep", is_flag=True, help="Also compare every id, and read the lake back against its certificates.")
@click.option("--repair", is_flag=True, help="Fetch again what differs, then compare again.")
@click.pass_obj
def trigger(output: Output, /, *, tenant_id: str, service: str, deep: bool, repair: bool, **where: str | None) -> None:
    """Compare the history of a tenant's service; exit code 1 where something differs."""
    from backfill_assets.resources import open_wiring
    from backfill_assets.settings import load_settings

    with open_wiring(load_settings()) as wiring:
        found = dict(_reconciled(wiring, wiring.tenant_service(tenant_id, service), where, deep, repair))
    _tell(output, found)
    if faults := [f"{table}: {fault}" for table, result in found.items() for fault in _faults(result)]:
        raise PermanentError("; ".join(faults) + _advice(found, is_repair=repair))


def _reconciled(
    wiring: "Wiring", service: "TenantService", where: Mapping[str, str | None], deep: bool, repair: bool
) -> Iterator[tuple[str, "Reconciled"]]:
    from backfill_assets.tenant_history.plan import parse_moment
    from backfill_assets.tenant_history.reconciling.reconcile import Reconciled

    tables = _tables(service, where["table_name"])
    start, end = (
        None if (text := where[name]) is None else parse_moment(text, f"--{name.replace('_', '-')}")
        for name in ("start_date", "end_date")
    )
    _check_range(wiring, start, end)
    with closing(wiring.connect(service)) as source:
        for table in tables:
            one = _table_reconcile(wiring, service, table, source)
            try:
                yield table.name, one.run(one.span(start, end), is_deep=deep, is_repair=repair)
            except UsageError:
                raise
            except BackfillError as error:
                yield table.name, Reconciled(compared=None, problem=str(error))


def _tables(service: "TenantService", name: str | None) -> Sequence["TableSpec"]:
    if name is None:
        return service.spec.tables
    if (table := service.spec.table(name)) is None:
        known = ", ".join(table.name for table in service.spec.tables)
        raise UsageError(f"{service.spec.name} has no table {name!r}; it has {known}")
    return [table]


def _check_range(wiring: "Wiring", start: Any, end: Any) -> None:
    if start is not None and start >= wiring.clock():
        raise UsageError(f"--start-date {start.isoformat()} lies in the future; nothing can be compared there")
    if start is not None and end is not None and end <= start:
        raise UsageError(f"--end-date {end.isoformat()} is not after --start-date {start.isoformat()}")


def _table_reconcile(
    wiring: "Wiring", service: "TenantService", table: "TableSpec", source: "RecordSource"
) -> "TableReconcile":
    from backfill_assets.tenant_history.assets import table_backfill
    from backfill_assets.tenant_history.completeness import overlap_of
    from backfill_assets.tenant_history.plan import calendar_of
    from backfill_assets.tenant_history.reconciling.reconcile import TableReconcile

    name, job = service.spec.name, "reconcile"
    handoffs = wiring.handoffs.handoffs(service=name, tenant=service.tenant)
    return TableReconcile(
        backfill=table_backfill(wiring, service.tenant, name, table, source, job_id=job, run_id=job),
        # The windows are those of the service, which all tenants share.
        calendar=calendar_of(wiring.settings.services[name]),
        handoff=next((handoff for handoff in handoffs if handoff.table == table.name), None),
        overlap=overlap_of(service.spec),
    )


def _tell(output: Output, found: "Results") -> None:
    from rich.table import Table

    table = Table()
    table.add_column("table", no_wrap=True)
    for name in COLUMNS:
        table.add_column(name, overflow="fold")
    for name, result in found.items():
        table.add_row(*_row(name, result))
    output.table([_facts(name, result) for name, result in found.items()], table)
    for name, result in found.items():
        for remark in _remarks(result):
            output.remark(f"{name}: {remark}")


def _row(name: str, result: "Reconciled") -> list[str]:
    compared, changed = result.compared, str(len(result.changed)) if result.is_deep else "unread"
    if compared is None:
        return [name, "not compared", *[""] * 4, changed, ""]
    # History's first window has no beginning: what is older than the calendar counts into it.
    begin = f"{compared.start:%Y-%m-%d}" if compared.start.year > 1 else "the beginning"
    numbers = (compared.source_records, compared.lake_records, len(compared.missing), len(compared.gone))
    span = f"{begin} to {compared.end:%Y-%m-%d %H:%M:%S}"
    return [name, span, *map(str, numbers), changed, str(compared.count_requests)]


def _facts(name: str, result: "Reconciled") -> dict[str, Any]:
    compared = result.compared
    facts = {"table": name, "is_equal": result.is_equal, "problem": result.problem}
    if compared is not None:
        facts |= {
            "start": compared.start.isoformat(),
            "end": compared.end.isoformat(),
            "source_records": compared.source_records,
            "lake_records": compared.lake_records,
            "missing": [{"id": m.record_id, "version": m.version.isoformat()} for m in compared.missing],
            "gone": compared.gone,
            "unexplained": compared.unexplained,
            "count_requests": compared.count_requests,
        }
    changed = [_changed_facts(changed) for changed in result.changed]
    return {**facts, "changed": changed, "refilled": result.refilled, "refetched": result.refetched}


def _changed_facts(changed: "Changed") -> dict[str, Any]:
    return {
        "window": changed.window.key,
        "has_other_ids": changed.has_other_ids,
        "files": changed.files,
        "missing": changed.missing,
        "unverified": changed.unverified,
        "reason": changed.reason,
    }


def _remarks(result: "Reconciled") -> Iterator[str]:
    if result.refilled or result.refetched:
        yield f"read {result.refilled} windows again, and fetched {result.refetched} records"
    if result.compared is not None and result.compared.gone:
        gone = result.compared.gone
        yield f"{len(gone)} records are in the lake and not at the source any more ({_few(gone)}); that is no fault"


def _faults(result: "Reconciled") -> Iterator[str]:
    if result.problem:
        yield result.problem
    compared = result.compared
    if compared is not None and compared.missing:
        missing = [f"{m.record_id} of {m.version:%Y-%m-%d %H:%M:%S}" for m in compared.missing]
        yield f"{len(missing)} records are missing in the lake ({_few(missing)})"
    if compared is not None and compared.unexplained:
        more = "more" if compared.unexplained > 0 else "fewer"
        yield f"the source counts {abs(compared.unexplained)} records {more} than it shows"
    yield from map(_told, result.changed)


def _told(changed: "Changed") -> str:
    what = "versions came or went" if changed.has_other_ids else "values changed"
    told = [changed.reason or f"{what} in the files of window {changed.window.key}"]
    if changed.files:
        told.append(f"other than the source: {_few(changed.files)}")
    if changed.missing:
        told.append(f"missing: {_few(changed.missing)}")
    if changed.unverified:
        told.append(f"not shown by the source any more, so not verified: {_few(changed.unverified)}")
    return ", ".join(told)


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"


def _advice(found: "Results", *, is_repair: bool) -> str:
    compared = all(result.compared is not None for result in found.values())
    if not is_repair and compared:
        return ". Run it again with --repair to fetch what differs"
    return ". See `backfill dead-letters list` for records that could not be stored" if compared else ""
