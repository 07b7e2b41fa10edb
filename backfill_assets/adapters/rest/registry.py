"""Which kinds of service can be read, and how a client for one tenant's account is opened.

A new kind of service is one tables module, one client module and one entry here; a package of somebody else's adds one
by an entry point of the group `backfill_assets.connectors` (docs/new_service.md). Clients are imported when one is
opened: whoever only wants the specs (definitions, plans) does not pay for an HTTP library.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from backfill_assets.adapters.rest.connectwise_tables import CONNECTWISE
from backfill_assets.adapters.rest.salesforce_tables import SALESFORCE
from backfill_assets.adapters.rest.servicenow_tables import SERVICENOW
from backfill_assets.core.pacing import Pacer, Unpaced
from backfill_assets.core.source import RecordSource, ServiceSpec
from backfill_assets.errors import ConfigurationError

if TYPE_CHECKING:
    from backfill_assets.adapters.rest.account import Account
    from backfill_assets.adapters.rest.http import Wire

ENTRY_POINTS = "backfill_assets.connectors"

RESERVED = frozenset({"canonical", "process_metadata", "table_backfill", "work_orders"})
"""What the keys of other assets begin with."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Access:
    """How one tenant's account is reached; `credential` is by field, `credential_names` are its settings' names.

    `spec` has the tenant's overrides in it. A probe asks once and gives up within seconds, for whoever only wants to
    know whether the connection works.
    """

    tenant: str
    spec: ServiceSpec
    base_url: str
    credential: Mapping[str, str] = field(repr=False)
    credential_names: Sequence[str]
    pacer: Pacer = field(default_factory=Unpaced)
    is_probe: bool = False

    @property
    def account(self) -> "Account":
        """Whose requests these are; no message will show what the credential holds."""
        from backfill_assets.adapters.rest.account import Account

        return Account(
            service=self.spec.name,
            tenant=self.tenant,
            credential_names=self.credential_names,
            secrets=tuple(self.credential.values()),
        )

    @property
    def parts(self) -> dict[str, Any]:
        """What every client here is made of."""
        return {
            "tenant": self.tenant,
            "base_url": self.base_url,
            "credential": self.credential,
            "credential_names": self.credential_names,
            "page_size": self.spec.page_size,
            "wire": self.wire,
        }

    @property
    def wire(self) -> "Wire":
        """How the client makes its requests."""
        from backfill_assets.adapters.rest.http import PROBE_WIRE, Wire

        return PROBE_WIRE if self.is_probe else Wire(pacer=self.pacer)


OpenSource = Callable[[Access], RecordSource]
"""Opens a client, without a request; raises `ConfigurationError` where the address or the credential is incomplete."""


@dataclass(frozen=True, kw_only=True)
class Connector:
    """One kind of service: what it holds, and how to open a client for it."""

    spec: ServiceSpec
    open: OpenSource


def _open_connectwise(access: Access) -> RecordSource:
    from backfill_assets.adapters.rest.connectwise import ConnectWiseSource

    return ConnectWiseSource(**access.parts)


def _open_servicenow(access: Access) -> RecordSource:
    from backfill_assets.adapters.rest.servicenow import ServiceNowSource

    return ServiceNowSource(**access.parts)


def _open_salesforce(access: Access) -> RecordSource:
    from backfill_assets.adapters.rest.salesforce import SalesforceSource

    return SalesforceSource(**access.parts, bulk_above_rows=access.spec.bulk_above_rows)


BUILT_IN: Mapping[str, Connector] = MappingProxyType(
    {
        CONNECTWISE.name: Connector(spec=CONNECTWISE, open=_open_connectwise),
        SERVICENOW.name: Connector(spec=SERVICENOW, open=_open_servicenow),
        SALESFORCE.name: Connector(spec=SALESFORCE, open=_open_salesforce),
    }
)


def connectors() -> Mapping[str, Connector]:
    """Every kind of service that can be read: the built-in ones, and those of other installed packages.

    Raises `ConfigurationError` for an entry point that cannot be loaded, is no `Connector`, or takes a name that is
    known or unfit. Not kept: it takes some 8 ms, and is asked for a few times a run.
    """
    found = dict(BUILT_IN)
    for entry in entry_points(group=ENTRY_POINTS):
        connector = _load(entry)
        name = connector.spec.name
        if name in found:
            raise ConfigurationError(f"{_told(entry)} is a second connector for {name}; uninstall one of them")
        if name in RESERVED or not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"{_told(entry)} calls its service {name!r}; a name has lower-case letters, digits and _, begins with "
                f"a letter, and is none of {', '.join(sorted(RESERVED))}"
            )
        found[name] = connector
    return found


def _load(entry: EntryPoint) -> Connector:
    try:
        connector = entry.load()
    except Exception as error:  # whatever somebody else's module does at its import
        reason = next(iter(str(error).splitlines()), "")
        raise ConfigurationError(f"{_told(entry)} cannot be loaded ({type(error).__name__}: {reason})") from error
    if not isinstance(connector, Connector):
        raise ConfigurationError(f"{_told(entry)} is no Connector but {type(connector).__name__}")
    return connector


def _told(entry: EntryPoint) -> str:
    package = entry.dist.name if entry.dist else "an unknown package"
    return f"The entry point {entry.name} = {entry.value} ({ENTRY_POINTS}) of {package}"
