"""What the tenants file says, and what a tenant may change about a service.

Here belong the file's sections and the merge of a tenant's overrides onto a service. Credentials belong to
`configuration.credentials`.
"""

import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from backfill_assets.configuration.files import (
    Problems,
    Section,
    checked,
    dotted,
    hint,
    read_document,
    refuse_unknown,
)
from backfill_assets.configuration.services import (
    SERVICES_FILE,
    Services,
    breaker_problem,
    lookback_problem,
    page_problem,
    unknown_service,
)
from backfill_assets.configuration.values import (
    Flag,
    MaybeCount,
    MaybeHours,
    MaybeTableNames,
    MaybeText,
    TimeZone,
    spec_changes,
)
from backfill_assets.core.source import ServiceSpec
from backfill_assets.errors import ConfigurationError

LONGEST_NAME = 255
TENANTS_FILE = "BACKFILL_TENANTS_FILE"

_SHARED = "is the same for all tenants; set services.{parent}.%s in the file that " + SERVICES_FILE + " names instead"
_CREDENTIAL_FIELDS = (
    *("company_id", "public_key", "private_key", "client_id", "client_secret"),
    *("username", "password", "security_token"),
)
_CREDENTIAL = "is part of a credential, which does not belong in a file; set BACKFILL_<TENANT>_<SERVICE>_%s instead"


class TenantServiceSection(Section):
    """What the file may say about one tenant's account at a service."""

    elsewhere: ClassVar[Mapping[str, str]] = {
        **{key: _SHARED % key for key in ("grain", "history_start", "chunks_per_run")},
        **{key: _CREDENTIAL % key.upper() for key in _CREDENTIAL_FIELDS},
        "instance_url": "is called base_url here",
    }

    enabled: Flag = True
    base_url: MaybeText = None
    lookback_days: MaybeCount = None
    chunk_size_days: MaybeCount = None
    requests_per_minute: MaybeCount = None
    chunk_target_rows: MaybeCount = None
    chunk_target_seconds: MaybeCount = None
    breaker_failures: MaybeCount = None
    breaker_pause_seconds: MaybeCount = None
    bulk_above_rows: MaybeCount = None
    backfill_hours: MaybeHours = None
    timeout_hours: MaybeCount = None
    page_size: MaybeCount = None
    tables: MaybeTableNames = None

    def overrides(self) -> dict[str, Any]:
        """The numbers and hours that this tenant sets for itself."""
        return spec_changes(self, but={"enabled", "base_url", "tables"})


class TenantSection(Section):
    """What the file may say about one tenant."""

    enabled: Flag = True
    time_zone: TimeZone = "UTC"
    services: dict[str, TenantServiceSection] = Field(default_factory=dict)


def read_tenants(path: Path | None, *, problems: Problems) -> Mapping[str, TenantSection]:
    """The tenants of the file, where there is one; a malformed tenant is left out and goes to `problems`."""
    sections: dict[str, TenantSection] = {}
    if path is None:
        return sections
    said: Mapping[str, Any] = {}
    with problems.collected():
        said = _tenants(path)
    for tenant, value in said.items():
        with problems.collected():
            sections[tenant] = _tenant(tenant, value, file=path.name)
    return sections


def tenant_spec(
    spec: ServiceSpec,
    section: TenantServiceSection,
    *,
    tenant: str,
    where: str,
    services: Services,
    today: date,
    problems: Problems,
) -> ServiceSpec:
    """The service as this tenant wants it: an existing configuration's override, then the tenants directory's."""
    before = services.overrides.get(tenant, {}).get(spec.name, {})
    problems.add(*_disagreements(section, before, where=where, tenant=tenant, services=services, service=spec.name))
    changes: dict[str, Any] = {**before, **section.overrides()}
    wanted = replace(spec, **changes)
    if wanted.lookback_days != spec.lookback_days:
        setting = f"{where}.lookback_days"
        if section.lookback_days is None:
            setting = f"{services.file}: tenant_overrides.{dotted(tenant)}.{dotted(spec.name)}.default_lookback_days"
        problems.add(*lookback_problem(setting, wanted, services, today))
    if wanted.page_size != spec.page_size:
        problems.add(*page_problem(f"{where}.page_size", wanted))
    if wanted.breaker_failures != spec.breaker_failures:
        problems.add(*breaker_problem(f"{where}.breaker_failures", wanted))
    with problems.collected():
        return _with_tables(wanted, section.tables, where)
    return wanted


def service_problems(
    section: TenantSection, builtin: Mapping[str, ServiceSpec], where: Callable[[str], str]
) -> Iterator[str]:
    """A sentence for each service of this tenant that is not known; `where` begins one about a service."""
    for service in section.services:
        if unknown := unknown_service(service, builtin):
            yield f"{where(service)} {unknown}"


def strangers(services: Services, sections: Mapping[str, TenantSection], directory: str) -> Iterator[str]:
    """A note for each override of an existing configuration whose tenant is not in the tenants directory."""
    for tenant in services.overrides:
        if tenant not in sections:
            yield f"{services.file}: tenant_overrides.{dotted(tenant)} was not read: {directory} has no such tenant"


def _tenants(path: Path) -> Mapping[str, Any]:
    document = read_document(path, variable=TENANTS_FILE)
    refuse_unknown(document, known=("tenants",), file=path.name)
    said = document.get("tenants")
    if not isinstance(said, dict):
        raise ConfigurationError(f"{path.name}: tenants must be a mapping of names to values; write {{}} for none")
    return said


def _tenant(tenant: str, value: object, *, file: str) -> TenantSection:
    where = f"{file}: tenants.{dotted(tenant)}"
    if reason := unfit_id(tenant):
        raise ConfigurationError(f"{where} cannot be a tenant's id: {reason}")
    return checked(TenantSection, value, file=file, path=("tenants", tenant))


def unfit_id(tenant: str) -> str | None:
    """Why this cannot be a tenant's id, which is the name of a folder in the lake too."""
    if not tenant or len(tenant) > 100:
        return "it must have 1 to 100 characters"
    if tenant != tenant.strip():
        return "it begins or ends with a blank"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in tenant):
        return "it holds a control character"
    if tenant in (".", "..") or "/" in tenant or "\\" in tenant:
        return "it is the name of a folder, so it cannot be . or .. or hold a slash"
    if len(tenant.encode()) > LONGEST_NAME:
        return f"it is the name of a folder, so it can have at most {LONGEST_NAME} bytes in UTF-8"
    return None


def _disagreements(
    section: TenantServiceSection,
    before: Mapping[str, int],
    *,
    where: str,
    tenant: str,
    services: Services,
    service: str,
) -> Iterator[str]:
    said = section.overrides()
    for key, value in before.items():
        if said.get(key, value) != value:
            old = "default_lookback_days" if key == "lookback_days" else key
            yield (
                f"{where}.{key} ({said[key]}) and {services.file}: tenant_overrides.{dotted(tenant)}."
                f"{dotted(service)}.{old} ({value}) contradict each other; remove one of them"
            )


def _with_tables(spec: ServiceSpec, names: tuple[str, ...] | None, where: str) -> ServiceSpec:
    if names is None:
        return spec
    known = [table.name for table in spec.tables]
    unknown = [
        f"{where}.tables: {name!r} is no table of {spec.name}; {hint(name, known)}"
        for name in names
        if spec.table(name) is None
    ]
    if unknown:
        raise ConfigurationError("\n".join(unknown))
    wanted = {table.name for name in names if (table := spec.table(name))}
    return replace(spec, tables=tuple(table for table in spec.tables if table.name in wanted))
