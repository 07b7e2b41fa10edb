"""Where tenants are listed: in a file, or in a DynamoDB table with their credentials in AWS Secrets Manager.

Here belongs the interface, what it tells, and the file. The table's items belong to `configuration.tenant_services`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from backfill_assets.configuration.files import Problems, dotted
from backfill_assets.configuration.secrets import Secret
from backfill_assets.configuration.tenants import TENANTS_FILE, TenantSection, read_tenants
from backfill_assets.core.source import ServiceSpec

TENANT_SERVICES_TABLE = "BACKFILL_TENANT_SERVICES_TABLE"
DEFAULT_TABLE = "TenantServices"
LAST_UPDATED_TABLE = "BACKFILL_LAST_UPDATED_TABLE"
DEFAULT_LAST_UPDATED = "LastUpdated"

Account = tuple[str, str]
"""A tenant and a service of theirs."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The tenants of a directory, and what it holds of their credentials."""

    tenants: Mapping[str, TenantSection]
    secrets: Mapping[Account, Secret] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class TenantDirectory(Protocol):
    """Lists the tenants.

    `name` is what sentences call it. In one that `is_remote` others write, for one tenant at a time: what is wrong
    there with one tenant becomes a note and stops nobody else, and the environment overrides what it says.
    """

    @property
    def name(self) -> str: ...

    @property
    def is_remote(self) -> bool: ...

    def read(self, problems: Problems) -> Listing:
        """List the tenants; that the directory cannot be read goes to `problems`."""
        ...

    def where(self, tenant: str, service: str) -> str:
        """What begins a sentence about a setting of a tenant's service."""
        ...

    def address_setting(self, tenant: str, service: str) -> str:
        """Where the service's address is to be written."""
        ...


@dataclass(frozen=True, kw_only=True)
class FileDirectory:
    """The tenants file; without a path, no tenants."""

    path: Path | None
    is_remote: bool = False

    @property
    def name(self) -> str:
        """See `TenantDirectory`."""
        return self.path.name if self.path else TENANTS_FILE

    def read(self, problems: Problems) -> Listing:
        """See `TenantDirectory.read`."""
        return Listing(tenants=read_tenants(self.path, problems=problems))

    def where(self, tenant: str, service: str) -> str:
        """See `TenantDirectory.where`."""
        return f"{self.name}: tenants.{dotted(tenant)}.services.{dotted(service)}"

    def address_setting(self, tenant: str, service: str) -> str:
        """See `TenantDirectory.address_setting`."""
        return f"tenants.{dotted(tenant)}.services.{dotted(service)}.base_url"


def open_directory(
    *, path: Path | None, table: str | None, environment: str | None, builtin: Mapping[str, ServiceSpec]
) -> TenantDirectory:
    """The table's directory where there is a table, else the file's; nothing is read yet."""
    if table is None:
        return FileDirectory(path=path)
    from backfill_assets.configuration.dynamodb import DynamoDirectory  # boto3 is loaded by those only who need it

    return DynamoDirectory(table=table, environment=environment, builtin=builtin)


def last_updated_table(tenant_services: str) -> str:
    """The table of watermarks beside a table of tenants: `TenantServices-prod` has `LastUpdated-prod`."""
    before, dash, environment = tenant_services.partition("-")
    return f"{DEFAULT_LAST_UPDATED}{dash}{environment}" if before == DEFAULT_TABLE else DEFAULT_LAST_UPDATED
