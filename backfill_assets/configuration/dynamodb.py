"""The tenants of a DynamoDB table `TenantServices`, with their credentials in AWS Secrets Manager.

Here belongs how the two are read and put together; importing it brings in boto3 and Dagster. What an item means belongs
to `configuration.tenant_services`, what a secret means to `configuration.secrets`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from backfill_assets.adapters.aws.secrets import SecretText, read_secrets
from backfill_assets.adapters.aws.tables import scan
from backfill_assets.configuration.directory import DEFAULT_TABLE, TENANT_SERVICES_TABLE, Account, Listing
from backfill_assets.configuration.files import Problems, dotted
from backfill_assets.configuration.secrets import Secret, parse_secret
from backfill_assets.configuration.tenant_services import Entry, ItemReader, where
from backfill_assets.configuration.tenants import TenantSection
from backfill_assets.core.source import ServiceSpec
from backfill_assets.errors import BackfillError


@dataclass(frozen=True, kw_only=True)
class DynamoDirectory:
    """See `TenantDirectory`.

    `environment` is the last part of the name of a secret that no item names: `tenant/<tenant>/<environment>`. Without
    one it is what follows in the table's name, `TenantServices-<environment>`.
    """

    table: str
    environment: str | None
    builtin: Mapping[str, ServiceSpec]
    is_remote: bool = True

    @property
    def name(self) -> str:
        """See `TenantDirectory`."""
        return f"DynamoDB table {self.table}"

    def read(self, problems: Problems) -> Listing:
        """See `TenantDirectory.read`; secrets are read only of services that are on."""
        try:
            items = scan(self.table, setting=TENANT_SERVICES_TABLE)
            reader = self._reader()
            entries = reader.entries(items)
            texts = read_secrets(entry.secret_name for entry in entries if self._is_wanted(entry) and entry.secret_name)
        except BackfillError as error:
            problems.add(str(error))
            return Listing(tenants={})
        secrets = {(entry.tenant, entry.service): _secret(entry, texts) for entry in entries if self._is_wanted(entry)}
        notes = tuple(reader.notes)
        return Listing(tenants=_sections(entries, secrets), secrets=secrets, notes=notes)

    def where(self, tenant: str, service: str) -> str:
        """See `TenantDirectory.where`."""
        return where(self.table, tenant, service)

    def address_setting(self, tenant: str, service: str) -> str:
        """See `TenantDirectory.address_setting`."""
        return f"{dotted(service)}_url of tenant_id {dotted(tenant)} in {self.name}"

    def _reader(self) -> ItemReader:
        before, _, after = self.table.partition("-")
        environment = self.environment or (after if before == DEFAULT_TABLE and after else None)
        return ItemReader(table=self.table, environment=environment, builtin=self.builtin)

    def _is_wanted(self, entry: Entry) -> bool:
        return entry.section.enabled and entry.service in self.builtin


def _secret(entry: Entry, texts: Mapping[str, SecretText]) -> Secret:
    if entry.secret_name is None:
        return Secret(name="a secret that secret_name names")
    found = texts[entry.secret_name]
    if found.text is None:
        told_as = f"secret {entry.secret_name}"
        return Secret(name=told_as, trouble=f"{told_as} (cannot be read: {found.trouble})")
    return parse_secret(entry.secret_name, found.text, entry.service)


def _sections(entries: Sequence[Entry], secrets: Mapping[Account, Secret]) -> Mapping[str, TenantSection]:
    by_tenant: dict[str, list[Entry]] = {}
    for entry in entries:
        by_tenant.setdefault(entry.tenant, []).append(entry)
    return {tenant: _section(ours, secrets) for tenant, ours in by_tenant.items()}


def _section(entries: Sequence[Entry], secrets: Mapping[Account, Secret]) -> TenantSection:
    services = {}
    for entry in entries:
        secret = secrets.get((entry.tenant, entry.service))
        held = secret.address(entry.service) if secret else None
        services[entry.service] = entry.section.model_copy(update={"base_url": entry.section.base_url or held})
    return TenantSection.model_construct(
        enabled=any(entry.section.enabled for entry in entries), time_zone=entries[0].time_zone, services=services
    )
