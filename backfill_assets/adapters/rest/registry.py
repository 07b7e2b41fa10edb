"""Which kinds of service can be read, and how a client for one tenant's account is opened.

A new kind of service is one tables module, one client module and one entry here. Clients are imported when one is
opened: whoever only wants the specs (definitions, plans) does not pay for an HTTP library.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

from backfill_assets.adapters.rest.connectwise_tables import CONNECTWISE
from backfill_assets.core.source import RecordSource, ServiceSpec


class OpenSource(Protocol):
    """Opens a client; `credential` is by field, `credential_names` are the settings' names, for messages.

    A probe asks once and gives up within seconds, for whoever only wants to know whether the connection works.
    """

    def __call__(
        self,
        *,
        tenant: str,
        base_url: str,
        credential: Mapping[str, str],
        credential_names: Sequence[str],
        page_size: int,
        is_probe: bool = False,
    ) -> RecordSource:
        """Raise `ConfigurationError` where the address or the credential is incomplete; make no request yet."""
        ...


@dataclass(frozen=True, kw_only=True)
class Connector:
    """One kind of service: what it holds, and how to open a client for it."""

    spec: ServiceSpec
    open: OpenSource


def _open_connectwise(
    *,
    tenant: str,
    base_url: str,
    credential: Mapping[str, str],
    credential_names: Sequence[str],
    page_size: int,
    is_probe: bool = False,
) -> RecordSource:
    from backfill_assets.adapters.rest.connectwise import ConnectWiseSource
    from backfill_assets.adapters.rest.http import PROBE_WIRE, REAL_WIRE

    return ConnectWiseSource(
        tenant=tenant,
        base_url=base_url,
        credential=credential,
        credential_names=credential_names,
        page_size=page_size,
        wire=PROBE_WIRE if is_probe else REAL_WIRE,
    )


CONNECTORS: Mapping[str, Connector] = MappingProxyType(
    {CONNECTWISE.name: Connector(spec=CONNECTWISE, open=_open_connectwise)}
)
