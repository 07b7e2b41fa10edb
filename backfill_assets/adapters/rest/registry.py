"""Which kinds of service can be read, and how a client for one tenant's account is opened.

A new kind of service is one tables module, one client module and one entry here. Clients are imported when one is
opened: whoever only wants the specs (definitions, plans) does not pay for an HTTP library.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from backfill_assets.adapters.rest.connectwise_tables import CONNECTWISE
from backfill_assets.core.source import RecordSource, ServiceSpec


@dataclass(frozen=True, kw_only=True)
class Access:
    """How one tenant's account is reached; `credential` is by field, `credential_names` are its settings' names.

    A probe asks once and gives up within seconds, for whoever only wants to know whether the connection works.
    """

    tenant: str
    base_url: str
    credential: Mapping[str, str] = field(repr=False)
    credential_names: Sequence[str]
    page_size: int
    is_probe: bool = False


OpenSource = Callable[[Access], RecordSource]
"""Opens a client, without a request; raises `ConfigurationError` where the address or the credential is incomplete."""


@dataclass(frozen=True, kw_only=True)
class Connector:
    """One kind of service: what it holds, and how to open a client for it."""

    spec: ServiceSpec
    open: OpenSource


def _open_connectwise(access: Access) -> RecordSource:
    from backfill_assets.adapters.rest.connectwise import ConnectWiseSource
    from backfill_assets.adapters.rest.http import PROBE_WIRE, REAL_WIRE

    return ConnectWiseSource(
        tenant=access.tenant,
        base_url=access.base_url,
        credential=access.credential,
        credential_names=access.credential_names,
        page_size=access.page_size,
        wire=PROBE_WIRE if access.is_probe else REAL_WIRE,
    )


CONNECTORS: Mapping[str, Connector] = MappingProxyType(
    {CONNECTWISE.name: Connector(spec=CONNECTWISE, open=_open_connectwise)}
)
