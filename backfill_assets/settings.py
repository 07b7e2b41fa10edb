"""Everything that can be set, read and checked in one place; nothing else reads the environment.

Here belong the settings themselves and the one function that loads them. The parts of the two files and the
credentials are read by `configuration`. What contradicts itself stops the start with a sentence that names the
settings; importing this module reads nothing.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from sqlalchemy import URL

from backfill_assets.adapters.rest.registry import connectors
from backfill_assets.configuration import process_metadata as metadata
from backfill_assets.configuration import table_backfill, variables, work_orders
from backfill_assets.configuration.credentials import (
    Address,
    collisions,
    find_address,
    variable_names,
)
from backfill_assets.configuration.directory import (
    DEFAULT_TABLE,
    LAST_UPDATED_TABLE,
    TENANT_SERVICES_TABLE,
    Listing,
    TenantDirectory,
    last_updated_table,
    open_directory,
)
from backfill_assets.configuration.domains import configured_domains, named_domains
from backfill_assets.configuration.files import Problems
from backfill_assets.configuration.secrets import complete_address, complete_credential
from backfill_assets.configuration.services import SERVICES_FILE, Services, read_services
from backfill_assets.configuration.tenants import (
    TENANTS_FILE,
    TenantSection,
    TenantServiceSection,
    service_problems,
    strangers,
    tenant_spec,
)
from backfill_assets.configuration.variables import (
    LAKE_ROOT,
    S3_ENDPOINT_URL,
    TENANT_ENVIRONMENT,
    TENANT_SOURCE,
    DatabaseUrl,
    LakeRoot,
    MaybeEndpoint,
    MaybeEnvironment,
    MaybeFile,
    MaybeHome,
    TableName,
    TenantSource,
    absolute_path,
    from_text,
)
from backfill_assets.core.source import ServiceSpec
from backfill_assets.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class TenantService:
    """One tenant's account at one service.

    `spec` has the tenant's overrides in it; `enabled` is off for all services of a tenant that is off; `time_zone` is
    the tenant's; `credential` is by field; `credential_names` are the variables that hold it; `missing` names the
    settings that lack, or whose file cannot be read, before the service can be read.
    """

    tenant: str
    spec: ServiceSpec
    enabled: bool
    base_url: str | None
    credential: Mapping[str, str] = field(repr=False)
    missing: tuple[str, ...]
    credential_names: tuple[str, ...]
    time_zone: str = "UTC"


@dataclass(frozen=True, kw_only=True)
class Tenant:
    """One customer and its services by name; only services that this version can read."""

    id: str
    enabled: bool
    time_zone: str
    services: Mapping[str, TenantService]


def _folder(known: Mapping[str, Any]) -> Path:
    return known.get("dagster_home") or Path.cwd()


def _default_database_url(known: Mapping[str, Any]) -> SecretStr:
    url = URL.create("sqlite", database=str(_folder(known) / "backfill.sqlite3"))
    return SecretStr(url.render_as_string(hide_password=False))


class Settings(metadata.ProcessMetadataSettings, table_backfill.TableBackfillSettings, work_orders.WorkOrderSettings):
    """What `load_settings` found; frozen. Neither its text nor its dump shows a secret."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    dagster_home: MaybeHome = Field(None, validation_alias="DAGSTER_HOME")
    domains: Annotated[tuple[str, ...], from_text(named_domains)] = Field(
        default_factory=configured_domains, validation_alias="BACKFILL_DOMAINS"
    )
    database_url: DatabaseUrl = Field(default_factory=_default_database_url, validation_alias="BACKFILL_DATABASE_URL")
    lake_root: LakeRoot = Field(default_factory=lambda known: _folder(known) / "lake", validation_alias=LAKE_ROOT)
    s3_endpoint_url: MaybeEndpoint = Field(None, validation_alias=S3_ENDPOINT_URL)
    services_file: MaybeFile = Field(None, validation_alias=SERVICES_FILE)
    tenants_file: MaybeFile = Field(None, validation_alias=TENANTS_FILE)
    tenant_source: TenantSource = Field("file", validation_alias=TENANT_SOURCE)
    tenant_services_table: TableName = Field(DEFAULT_TABLE, validation_alias=TENANT_SERVICES_TABLE)
    last_updated_table: TableName = Field(
        default_factory=lambda known: last_updated_table(known["tenant_services_table"]),
        validation_alias=LAST_UPDATED_TABLE,
    )
    tenant_environment: MaybeEnvironment = Field(None, validation_alias=TENANT_ENVIRONMENT)

    # Derived from the files; in no dump and no text, because tenants hold credentials and services are long.
    services: Mapping[str, ServiceSpec] = Field(default_factory=dict, exclude=True, repr=False)
    tenants: Mapping[str, Tenant] = Field(default_factory=dict, exclude=True, repr=False)
    notes: tuple[str, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` hands in: it decides which environment counts."""
        return (init_settings,)


def load_settings(
    environ: Mapping[str, str] | None = None,
    *,
    builtin: Mapping[str, ServiceSpec] | None = None,
    today: date | None = None,
) -> Settings:
    """Read the environment and the files it names, now, and check all of it.

    `environ` is the process's own by default, `builtin` the services that this version can read, `today` the UTC
    date. Raises `ConfigurationError` with one sentence a line for everything that is wrong.
    """
    environ = os.environ if environ is None else environ  # noqa: TID251 - the one place that reads it
    builtin = {name: connector.spec for name, connector in connectors().items()} if builtin is None else builtin
    today = datetime.now(UTC).date() if today is None else today
    problems = Problems()
    services = read_services(_named(environ, SERVICES_FILE), builtin=builtin, today=today, problems=problems)
    said = {name: environ[name].strip() for name in _variables() if environ.get(name, "").strip()}
    directory = open_directory(
        path=_named(said, TENANTS_FILE),
        table=said.get(TENANT_SERVICES_TABLE, DEFAULT_TABLE) if said.get(TENANT_SOURCE) == "dynamodb" else None,
        environment=said.get(TENANT_ENVIRONMENT),
        builtin=builtin,
    )
    reader = _TenantReader(
        environ=environ, builtin=builtin, services=services, directory=directory, today=today, problems=problems
    )
    tenants = reader.tenants()
    with problems.collected():
        notes = (*services.notes, *reader.notes)
        for part in (variables, metadata, table_backfill, work_orders):
            problems.add(*part.contradictions(said))
        settings = _checked({**said, "services": services.specs, "tenants": tenants, "notes": notes})
    problems.refuse()
    return settings


def load_broker(environ: Mapping[str, str] | None = None) -> SecretStr:
    """Where runs wait for Celery workers, without reading the files that `load_settings` reads.

    Raises `ConfigurationError` where Celery is not enabled.
    """
    environ = os.environ if environ is None else environ  # noqa: TID251 - the one place that reads it
    names = (metadata.CELERY_ENABLED, metadata.CELERY_BROKER_URL)
    settings = _checked({name: environ[name].strip() for name in names if environ.get(name, "").strip()})
    if not settings.celery_enabled:
        raise ConfigurationError(
            f"dagster.yaml lets Celery workers execute runs, but {metadata.CELERY_ENABLED} is not true; set it to "
            "true, or give dagster.yaml the launcher ProcessRunLauncher (docs/celery.md)"
        )
    return settings.celery_broker_url


def _variables() -> Iterator[str]:
    return (str(known.validation_alias) for known in Settings.model_fields.values() if known.validation_alias)


def _named(environ: Mapping[str, str], variable: str) -> Path | None:
    """The file that the variable names; one that names none means: no file."""
    text = environ.get(variable, "").strip()
    return absolute_path(text) if text else None


def _checked(said: Mapping[str, Any]) -> Settings:
    try:
        return Settings.model_validate(said)
    except ValidationError as error:
        wrong = [problem for problem in error.errors() if problem["type"] == "value_error"]
    raise ConfigurationError("\n".join(f"{problem['loc'][0]} {problem['ctx']['error']}" for problem in wrong))


@dataclass(frozen=True, kw_only=True)
class _TenantReader:
    """Puts tenants together from the directory's sections, the services and the environment."""

    environ: Mapping[str, str]
    builtin: Mapping[str, ServiceSpec]
    services: Services
    directory: TenantDirectory
    today: date
    problems: Problems
    notes: list[str] = field(default_factory=list)

    def tenants(self) -> Mapping[str, Tenant]:
        """All tenants of the directory; what is wrong with them goes to the problems, or to the notes."""
        listing = self.directory.read(self.problems)
        self.notes.extend(listing.notes)
        found = {name: self._tenant(name, section, listing) for name, section in listing.tenants.items()}
        accounts = ((account.tenant, account.spec) for tenant in found.values() for account in tenant.services.values())
        self.problems.add(*collisions(filter(self._may_collide, accounts)))
        self.notes.extend(strangers(self.services, listing.tenants, self.directory.name))
        return found

    def _may_collide(self, account: tuple[str, ServiceSpec]) -> bool:
        # Where secrets come from elsewhere, variables can be mixed up only if there are any.
        return not self.directory.is_remote or not variable_names(*account).isdisjoint(self.environ)

    def _tenant(self, tenant: str, section: TenantSection, listing: Listing) -> Tenant:
        self._tell(service_problems(section, self.builtin, partial(self.directory.where, tenant)))
        services = {
            # A known service that is not among the specs has a malformed section of its own, which is told already.
            name: self._service(tenant, self.services.specs[name], wanted, section, listing)
            for name, wanted in section.services.items()
            if name in self.services.specs
        }
        whole = {name: service for name, service in services.items() if service is not None}
        return Tenant(id=tenant, enabled=section.enabled, time_zone=section.time_zone, services=whole)

    def _tell(self, sentences: Iterable[str]) -> None:
        if self.directory.is_remote:
            self.notes.extend(sentences)
        else:
            self.problems.add(*sentences)

    def _service(
        self, tenant: str, spec: ServiceSpec, section: TenantServiceSection, whole: TenantSection, listing: Listing
    ) -> TenantService | None:
        """The service; None where what is wrong with it stops only itself."""
        problems = Problems()
        wanted = tenant_spec(
            spec,
            section,
            tenant=tenant,
            where=self.directory.where(tenant, spec.name),
            services=self.services,
            today=self.today,
            problems=problems,
        )
        credential = complete_credential(self.environ, tenant, spec, listing.secrets.get((tenant, spec.name)))
        address = self._address(tenant, spec, section.base_url, problems)
        wrong = problems.taken()
        self._tell(wrong)
        if wrong and self.directory.is_remote:
            return None
        unaddressed = () if address.url or address.missing else (self.directory.address_setting(tenant, spec.name),)
        return TenantService(
            tenant=tenant,
            spec=wanted,
            enabled=whole.enabled and section.enabled,
            time_zone=whole.time_zone,
            base_url=address.url,
            credential=credential.values,
            missing=(*credential.missing, *address.missing, *unaddressed),
            credential_names=credential.names,
        )

    def _address(self, tenant: str, spec: ServiceSpec, written: str | None, problems: Problems) -> Address:
        setting = self.directory.address_setting(tenant, spec.name)
        if self.directory.is_remote:
            return complete_address(self.environ, tenant, spec, written, setting=setting, problems=problems)
        setting = f"{self.directory.name}: {setting}"
        return find_address(self.environ, tenant, spec, written, setting=setting, problems=problems)


def publish(variables: Mapping[str, str]) -> None:
    """Set variables for this process and for every program that it starts."""
    os.environ.update(variables)  # noqa: TID251 - the one place that writes it
