"""Finding services whose history is missing, and launching it: what the sensor and the command line share.

Here belongs where detection's facts come from and what is done about a verdict. The decision itself is pure and
belongs to `detection.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from operator import itemgetter
from time import monotonic
from typing import Any

from dagster import DagsterInstance

from backfill_assets.core.keys import encode_key
from backfill_assets.errors import BackfillError, TransientError
from backfill_assets.following import Backfill, Graph, backfills, has_ended, has_succeeded
from backfill_assets.launching import (
    DOMAIN_TAG,
    SERVICE_TAG,
    TENANT_TAG,
    BackfillRequest,
    Launched,
    launch,
    recover,
)
from backfill_assets.pausing import is_paused
from backfill_assets.resources import Wiring
from backfill_assets.settings import TenantService
from backfill_assets.tenant_history.assets import op_name
from backfill_assets.tenant_history.committing import DOMAIN
from backfill_assets.tenant_history.detection import Facts, History, Judgement, Verdict, judge
from backfill_assets.tenant_history.hours import closed
from backfill_assets.tenant_history.partitions import asset_key, canonical_key, partition_key, tenant_set
from backfill_assets.tenant_history.plan import HistoryPlan, plan_history, windows_per_run
from backfill_assets.tenant_history.targets import canonical_targets

SCOPE_TAG = "backfill/scope"
WHOLE, PART = "whole history", "part of history"

CHECKERS = 16
CHECK_SECONDS = 20.0

LAUNCH_SECONDS = 20.0
"""How long a tick goes on launching: Dagster gives a sensor a minute."""

Switches = Mapping[tuple[str, str], bool]
Histories = Mapping[tuple[str, str], Sequence[Backfill]]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One tenant's service and what detection says of it."""

    service: TenantService
    judgement: Judgement


@dataclass(frozen=True, kw_only=True)
class Started:
    """What came of a finding: the plan and its backfill, or the sentence that says why none was started."""

    finding: Finding
    plan: HistoryPlan | None = None
    launched: Launched | None = None
    problem: str = ""


def survey(wiring: Wiring, instance: DagsterInstance) -> list[Finding]:
    """Judge every service of every tenant."""
    histories, switches = _histories(instance), wiring.switches.seen()
    return [
        Finding(service=service, judgement=judge(_facts(wiring, service, histories, switches)))
        for tenant in wiring.settings.tenants.values()
        for service in tenant.services.values()
    ]


def onboard(wiring: Wiring, instance: DagsterInstance, graph: Graph, *, requested_by: str) -> Iterator[Started]:
    """Launch the whole history of every service that detection finds, each on its own.

    A service that cannot be reached, or that refuses its credential, is told of and left for the next time.
    """
    recover(instance, graph, {DOMAIN_TAG: DOMAIN}, lock=wiring.lock)
    findings = survey(wiring, instance)
    _remember(wiring, findings)
    found = [finding for finding in findings if finding.judgement.verdict is Verdict.BACKFILL]
    problems = check_connections(wiring, [finding.service for finding in found])
    # The checks took time: what was launched or cancelled meanwhile is not launched again.
    known, switches = (_histories(instance), wiring.switches.seen()) if found else ({}, {})
    until = monotonic() + LAUNCH_SECONDS
    for finding, problem in zip(found, problems, strict=True):
        if problem is not None:
            yield Started(finding=finding, problem=str(problem))
        elif monotonic() > until:
            yield Started(finding=finding, problem="it is launched the next time, since many others were launched now")
        elif judge(_facts(wiring, finding.service, known, switches)).verdict is Verdict.BACKFILL:
            yield _start(wiring, instance, graph, finding, requested_by)


def _start(wiring: Wiring, instance: DagsterInstance, graph: Graph, finding: Finding, requested_by: str) -> Started:
    service = finding.service
    reason = finding.judgement.reason
    try:
        plan = whole_history(wiring, service)
        launched = launch_history(wiring, instance, graph, service, plan, reason=reason, requested_by=requested_by)
        wiring.switches.note({(service.tenant, service.spec.name): True}, wiring.clock())
    except BackfillError as error:
        return Started(finding=finding, problem=str(error))
    return Started(finding=finding, plan=plan, launched=launched)


def check_connections(
    wiring: Wiring, services: Sequence[TenantService], *, seconds: float = CHECK_SECONDS
) -> list[BackfillError | None]:
    """What stands in the way of each service, or None; side by side, so that dead hosts do not add up.

    Many new services at once are tried in turns: a sensor has a minute, and the next tick goes on elsewhere.
    """
    if not services:
        return []
    turn = int(wiring.clock().timestamp() // CHECK_SECONDS) % len(services)
    order = [*range(turn, len(services)), *range(turn)]
    until = monotonic() + seconds
    with ThreadPoolExecutor(CHECKERS) as checkers:
        results = checkers.map(lambda index: _obstacle(wiring, services[index], until), order)
        return [problem for _, problem in sorted(zip(order, results, strict=True), key=itemgetter(0))]


def _obstacle(wiring: Wiring, service: TenantService, until: float) -> BackfillError | None:
    if monotonic() > until:
        return TransientError("its connection was not tried this time, since others took too long")
    try:
        check_connection(wiring, service)
    except BackfillError as error:
        return error
    return None


def check_connection(wiring: Wiring, service: TenantService) -> str:
    """Make one request with the tenant's credential; return what answered, or raise what stands in the way."""
    source = wiring.probe(service)
    try:
        return source.check()
    finally:
        source.close()


def whole_history(wiring: Wiring, service: TenantService) -> HistoryPlan:
    """The plan for all tables from the lookback to now."""
    return plan_history(service.spec, wiring.clock(), windows_per_run=per_run(wiring, service))


def per_run(wiring: Wiring, service: TenantService) -> int:
    """How many windows a run of this service covers, whatever the tenant's own chunk size is."""
    return windows_per_run(wiring.settings.services[service.spec.name])


def launch_history(
    wiring: Wiring,
    instance: DagsterInstance,
    graph: Graph,
    service: TenantService,
    plan: HistoryPlan,
    *,
    reason: str,
    requested_by: str,
) -> Launched:
    """Make the tenant a partition and launch the plan as one native backfill, canonical tables last.

    Those that would have a hole even when the plan is done are left out. Outside of its hours it is launched paused.
    """
    tenant, name = service.tenant, service.spec.name
    instance.add_dynamic_partitions(tenant_set(name), [encode_key(tenant)])
    keys = [partition_key(tenant, window) for window in plan.windows]
    canonical = canonical_targets(wiring, service, {table.name: plan.windows for table in plan.tables}).included
    request = BackfillRequest(
        domain=DOMAIN,
        key=f"{DOMAIN}/{tenant}/{name}/{plan.target}",
        title=_title(service, plan),
        reason=reason,
        requested_by=requested_by,
        partitions={
            **{asset_key(name, table): keys for table in plan.tables},
            **{canonical_key(name, table.entity): [encode_key(tenant)] for table in canonical},
        },
        tags={TENANT_TAG: tenant, SERVICE_TAG: name, SCOPE_TAG: WHOLE if plan.is_whole else PART},
        run_config=_run_config(service, plan),
        paused_until=None if (pause := closed(service, wiring.clock())) is None else pause.until,
    )

    def note() -> None:
        # Before the first run: sync must not take what that run covers for all of the history.
        for table in plan.tables:
            wiring.handoffs.plan(tenant, name, table.name, start=plan.windows[0].start)

    return launch(instance, graph, request, lock=wiring.lock, before_adding=note)


def _title(service: TenantService, plan: HistoryPlan) -> str:
    what = "" if len(plan.tables) > 1 else f" {plan.tables[0].name}"
    first, last = plan.windows[0].start.date(), plan.windows[-1].end.date()
    return f"{service.tenant} {service.spec.name}{what}: {first} to {last}"


def _run_config(service: TenantService, plan: HistoryPlan) -> Mapping[str, Any] | None:
    if plan.chunk_size_days == service.spec.chunk_size_days:
        return None
    config = {"config": {"chunk_size_days": plan.chunk_size_days}}
    return {"ops": {op_name(plan.spec.name, table): config for table in plan.tables}}


def _facts(wiring: Wiring, service: TenantService, histories: Histories, switches: Switches) -> Facts:
    if not service.enabled:
        return Facts(is_enabled=False)
    history, stopped_id = _history(histories.get((service.tenant, service.spec.name), ()))
    pause = closed(service, wiring.clock())
    return Facts(
        is_enabled=True,
        opens="" if pause is None else pause.opens,
        missing=service.missing,
        history=history,
        stopped_id=stopped_id,
        oldest_data_age=_age(wiring, service) if history is History.NONE else None,
        was_off=switches.get((service.tenant, service.spec.name)) is False,
    )


def _histories(instance: DagsterInstance) -> Histories:
    """The backfills of whole histories by tenant and service, newest first."""
    found: dict[tuple[str, str], list[Backfill]] = {}
    for backfill in backfills(instance, {DOMAIN_TAG: DOMAIN, SCOPE_TAG: WHOLE}):
        found.setdefault((backfill.tags[TENANT_TAG], backfill.tags[SERVICE_TAG]), []).append(backfill)
    return found


def _history(known: Sequence[Backfill]) -> tuple[History, str]:
    if not known:
        return History.NONE, ""
    if not all(has_ended(backfill) or is_paused(backfill) for backfill in known):
        return History.ACTIVE, ""
    if any(map(is_paused, known)):
        return History.PAUSED, ""
    if any(map(has_succeeded, known)):
        return History.COMPLETED, ""
    return History.STOPPED, known[0].backfill_id


def _age(wiring: Wiring, service: TenantService) -> timedelta | None:
    oldest = wiring.lake.oldest_write(service.tenant, service.spec.name)
    return None if oldest is None else wiring.clock() - oldest


def _remember(wiring: Wiring, findings: Sequence[Finding]) -> None:
    """Note whether each service is on, so that switching it on again is noticed.

    One that is to be backfilled is noted when its backfill is launched, and one that lacks settings when it has them:
    until then it may have to be tried again.
    """
    switches = wiring.switches.seen()
    found = {
        (finding.service.tenant, finding.service.spec.name): finding.judgement.verdict is not Verdict.OFF
        for finding in findings
        if finding.judgement.verdict not in (Verdict.BACKFILL, Verdict.WAITING, Verdict.NOT_CONFIGURED)
    }
    wiring.switches.note({key: on for key, on in found.items() if switches.get(key) is not on}, wiring.clock())
