"""What a backfill works with, opened from the settings: the lake, the state database, the sources.

Here belongs how the parts are put together for a run, a sensor tick or a command. What they do belongs to the
adapters, what is done with them to the domains.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import dagster as dg

from backfill_assets.adapters.lake.opening import open_storage
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.adapters.rest.registry import Access, connectors
from backfill_assets.adapters.state.database import StateDatabase
from backfill_assets.core.certificates import CertificateLedger
from backfill_assets.core.dead_letters import DeadLetterLedger
from backfill_assets.core.handoff import HandoffLedger
from backfill_assets.core.instances import InstanceDatabase
from backfill_assets.core.jobs import JobQueue, Route, SourceServer
from backfill_assets.core.metadata import FieldLedger, MemoryFields
from backfill_assets.core.pacing import OpenBreaker, Pace, Pacer, Unpaced
from backfill_assets.core.source import RecordSource
from backfill_assets.core.switches import SwitchLedger
from backfill_assets.core.tables import TableDestination, TableSource
from backfill_assets.core.windows import Clock, utc_now
from backfill_assets.errors import UsageError
from backfill_assets.order_parts import OrderParts, order_parts
from backfill_assets.settings import Settings, TenantService, load_settings

Connect = Callable[[TenantService], RecordSource]
PublishWatermark = Callable[[str, str, datetime], None]


def _tell_nobody(_tenant: str, _table: str, _watermark: datetime) -> None:
    """Where tenants come from a file, no other program asks for watermarks."""


def _no_product() -> AbstractContextManager[InstanceDatabase]:
    """Where process metadata is off."""
    raise UsageError("process metadata is switched off, so there is no database of the product to open")


def _no_queue() -> AbstractContextManager[JobQueue]:
    """Where table backfill is off."""
    raise UsageError("table backfill is switched off; set BACKFILL_QUEUE_DATABASE_URL to the queue's database")


def _open_table_source(server: SourceServer) -> AbstractContextManager[TableSource]:
    from backfill_assets.adapters.tables.opening import open_source

    return open_source(server)


def _open_table_destination(route: Route) -> AbstractContextManager[TableDestination]:
    from backfill_assets.adapters.tables.opening import open_destination

    return open_destination(route)


@dataclass(frozen=True, kw_only=True)
class Wiring:
    """The parts, put together; tests put their own in.

    `connect` opens a source for reading, `probe` one that only tells within seconds whether the connection works.
    `breakers` are the services that nobody asks at the moment. `publish_watermark` tells other programs from when on a
    (tenant, table) has to be read by them. `fields` are the metadata fields known, `instances` opens the database that
    holds the process instances. `queue` opens the queue of tables, `table_source` and `table_destination` what its jobs
    read and write; `orders` is what work orders need.
    """

    settings: Settings
    lake: RawLake
    dead_letters: DeadLetterLedger
    switches: SwitchLedger
    certificates: CertificateLedger
    handoffs: HandoffLedger
    lock: Callable[[str], AbstractContextManager[None]]
    connect: Connect
    probe: Connect
    breakers: Callable[[], Sequence[OpenBreaker]] = tuple
    publish_watermark: PublishWatermark = _tell_nobody
    clock: Clock = utc_now
    fields: FieldLedger = field(default_factory=MemoryFields)
    instances: Callable[[], AbstractContextManager[InstanceDatabase]] = _no_product
    queue: Callable[[], AbstractContextManager[JobQueue]] = _no_queue
    table_source: Callable[[SourceServer], AbstractContextManager[TableSource]] = _open_table_source
    table_destination: Callable[[Route], AbstractContextManager[TableDestination]] = _open_table_destination
    orders: OrderParts = field(default_factory=OrderParts)

    def tenant_service(self, tenant: str, service: str) -> TenantService:
        """A tenant's service, switched on and with all of its credentials; raises `UsageError` for any other."""
        found = find_tenant_service(self.settings, tenant, service)
        if not found.enabled:
            raise UsageError(
                f"{service} of tenant {tenant!r} is switched off; switch it on in {_directory(self.settings)}"
            )
        if found.missing:
            raise UsageError(f"{service} of tenant {tenant!r} cannot be read: set {', '.join(found.missing)}")
        return found


def find_tenant_service(settings: Settings, tenant: str, service: str) -> TenantService:
    """A tenant's service by name; raises `UsageError` that names those that exist."""
    if tenant not in settings.tenants:
        known = _names(settings.tenants)
        raise UsageError(f"there is no tenant {tenant!r} in {_directory(settings)}; it has {known}")
    if service not in settings.services:
        raise UsageError(f"there is no service {service!r}; known are {_names(settings.services)}")
    if service not in settings.tenants[tenant].services:
        raise UsageError(f"tenant {tenant!r} has no service {service!r}; add it in {_directory(settings)}")
    return settings.tenants[tenant].services[service]


def connect(service: TenantService, *, pacer: Pacer | None = None) -> RecordSource:
    """Open a tenant's account at its service, to ask at this pace; without one to probe it. No request is made yet."""
    access = Access(
        tenant=service.tenant,
        spec=service.spec,
        base_url=service.base_url or "",
        credential=service.credential,
        credential_names=service.credential_names,
        pacer=pacer or Unpaced(),
        is_probe=pacer is None,
    )
    return connectors()[service.spec.name].open(access)


def _connect_paced(state: StateDatabase, service: TenantService) -> RecordSource:
    pace = Pace(
        requests_per_minute=service.spec.requests_per_minute,
        breaker_failures=service.spec.breaker_failures,
        breaker_pause_seconds=service.spec.breaker_pause_seconds,
    )
    return connect(service, pacer=state.pacer(service.spec.name, service.tenant, pace))


@contextmanager
def open_wiring(settings: Settings) -> Iterator[Wiring]:
    """Open everything; raises `ConfigurationError` when the state database is not there or of another version."""
    with StateDatabase.open(settings.database_url.get_secret_value()) as state:
        yield Wiring(
            settings=settings,
            lake=RawLake(open_storage(settings.lake_root, endpoint_url=settings.s3_endpoint_url), lock=state.lock),
            dead_letters=state.dead_letters,
            switches=state.switches,
            certificates=state.certificates,
            handoffs=state.handoffs,
            lock=state.lock,
            connect=partial(_connect_paced, state),
            probe=connect,
            breakers=state.breakers,
            publish_watermark=_publisher(settings),
            fields=state.fields,
            instances=_product(settings),
            queue=table_queue(settings),
            table_source=_open_table_source,
            table_destination=_open_table_destination,
            orders=order_parts(settings, state),
        )


def _product(settings: Settings) -> Callable[[], AbstractContextManager[InstanceDatabase]]:
    """How the product's database is opened: when somebody asks for it, and not before."""
    if settings.product_database_url is None:
        return _no_product
    url = settings.product_database_url.get_secret_value()

    def opened() -> AbstractContextManager[InstanceDatabase]:
        from backfill_assets.adapters.spiffworkflow.opening import open_instances

        return open_instances(url)

    return opened


def table_queue(settings: Settings) -> Callable[[], AbstractContextManager[JobQueue]]:
    """How the queue of tables is opened: when somebody asks for it, and not before."""
    if settings.queue_database_url is None:
        return _no_queue
    url, key = settings.queue_database_url.get_secret_value(), settings.credential_encryption_key

    def opened() -> AbstractContextManager[JobQueue]:
        from backfill_assets.adapters.queue.opening import open_queue

        return open_queue(url, key.get_secret_value() if key else None)

    return opened


def _publisher(settings: Settings) -> PublishWatermark:
    """Watermarks go where the tenants come from, for programs that know them from there."""
    if settings.tenant_source != "dynamodb":
        return _tell_nobody
    from backfill_assets.adapters.aws.last_updated import LastUpdated

    return LastUpdated(settings.last_updated_table).publish


@dg.resource(description="Lake, state database and sources, as the settings say.")
def wiring(_context: dg.InitResourceContext) -> Iterator[Wiring]:
    """The wiring as a Dagster resource, opened for a run."""
    with open_wiring(load_settings()) as opened:
        yield opened


def _directory(settings: Settings) -> str:
    is_file = settings.tenant_source == "file"
    return "the tenants file" if is_file else f"DynamoDB table {settings.tenant_services_table}"


def _names(known: Mapping[str, object]) -> str:
    return ", ".join(sorted(known)) or "none"
