"""What the services file says, merged onto the services that this version knows.

Here belong the file's sections, the merge, and the checks on the merged services. Translating an existing
`backfill_config.json` belongs to `configuration.existing`, what one tenant may change to `configuration.tenants`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import Field

from backfill_assets.configuration.existing import EXISTING_KEYS, translate
from backfill_assets.configuration.files import (
    Problems,
    Section,
    checked,
    dotted,
    hint,
    read_document,
    refuse_unknown,
)
from backfill_assets.configuration.values import (
    Column,
    Flag,
    MaybeCount,
    MaybeDay,
    MaybeFrequency,
    MaybeGrain,
    MaybeHours,
    MaybeText,
    MaybeWhole,
    spec_changes,
)
from backfill_assets.core.retries import DEFAULT_POLICY
from backfill_assets.core.source import ServiceSpec, TableSpec
from backfill_assets.errors import ConfigurationError

SERVICES_FILE = "BACKFILL_SERVICES_FILE"


class TableSection(Section):
    """What the file may say about one table of a service."""

    id_field: MaybeText = None
    deleted_field: MaybeText = None
    version_field: MaybeText = None
    incremental_field: MaybeText = None
    priority: MaybeWhole = None
    enabled: Flag = True
    columns: dict[str, Column] = Field(default_factory=dict)


class ServiceSection(Section):
    """What the file may say about one service; it mirrors `ServiceSpec`."""

    lookback_days: MaybeCount = None
    history_start: MaybeDay = None
    grain: MaybeGrain = None
    chunk_size_days: MaybeCount = None
    chunks_per_run: MaybeCount = None
    requests_per_minute: MaybeCount = None
    chunk_target_rows: MaybeCount = None
    chunk_target_seconds: MaybeCount = None
    breaker_failures: MaybeCount = None
    breaker_pause_seconds: MaybeCount = None
    bulk_above_rows: MaybeCount = None
    sync_frequency: MaybeFrequency = None
    overlap_minutes: MaybeCount = None
    backfill_hours: MaybeHours = None
    timeout_hours: MaybeCount = None
    page_size: MaybeCount = None
    tables: dict[str, TableSection] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Services:
    """The services after the merge; one whose settings are refused is not among `specs`.

    `overrides` are an existing configuration's, by tenant and service. `path` is where services are in the file and
    `lookback_key` what the lookback is called there, both for sentences.
    """

    specs: Mapping[str, ServiceSpec]
    overrides: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    file: str = "the built-in settings"
    path: str = "services"
    lookback_key: str = "lookback_days"

    def history_setting(self, service: str) -> str:
        """The setting that says where a service's history starts, for a sentence."""
        return f"{self.path}.{dotted(service)}.history_start"


def read_services(
    path: Path | None, *, builtin: Mapping[str, ServiceSpec], today: date, problems: Problems
) -> Services:
    """Merge the file, where there is one, onto the built-in services; what is wrong goes to `problems`."""
    with problems.collected():
        services, said = _read(path, builtin)
        sections = _sections(said, services, builtin, problems)
        for name, section in sections.items():
            problems.add(*(f"{services.file}: {x}" for x in _contradictions(builtin[name], section, services, today)))
        return replace(services, specs={name: _merged(builtin[name], section) for name, section in sections.items()})
    return Services(specs={})


def lookback_start_is_within_history(*, lookback_days: int, history_start: date, today: date) -> bool:
    """Whether a lookback that begins so many days before today begins where the windows do, or later."""
    return lookback_days <= (today - history_start).days


def lookback_problem(setting: str, spec: ServiceSpec, services: Services, today: date) -> Iterator[str]:
    """A sentence where this lookback, set by `setting`, begins before the service's history does."""
    start = spec.history_start
    if not lookback_start_is_within_history(lookback_days=spec.lookback_days, history_start=start, today=today):
        yield (
            f"{setting} ({spec.lookback_days}) begins before {services.history_setting(spec.name)} ({start}); "
            f"look back {max((today - start).days, 0)} days at most, or set an earlier history_start"
        )


def page_problem(setting: str, spec: ServiceSpec) -> Iterator[str]:
    """A sentence where this page size, set by `setting`, is more than the service sends at once."""
    if spec.page_size > spec.max_page_size:
        yield (
            f"{setting} ({spec.page_size}) is more than {spec.name} sends in a page; write {spec.max_page_size} or less"
        )


def breaker_problem(setting: str, spec: ServiceSpec) -> Iterator[str]:
    """A sentence where this number of failures, set by `setting`, is one that a single bad record reaches."""
    tries = DEFAULT_POLICY.tries
    if spec.breaker_failures <= tries:
        yield (
            f"{setting} ({spec.breaker_failures}) must be more than {tries}: a request alone is tried so often, and "
            f"one bad record would keep everybody from asking {spec.name}"
        )


def unknown_service(name: str, builtin: Mapping[str, ServiceSpec]) -> str | None:
    """The end of a sentence about a service that is not known, or None."""
    return None if name in builtin else f"is not a service that is known; known are {', '.join(sorted(builtin))}"


def _read(path: Path | None, builtin: Mapping[str, ServiceSpec]) -> tuple[Services, Mapping[str, Any]]:
    """What the file says by service, and what is known about the file itself; which shape it has, its keys tell."""
    if path is None:
        return Services(specs={}), {}
    document = read_document(path, variable=SERVICES_FILE)
    existing = [key for key in EXISTING_KEYS if key in document]
    if existing and "services" in document:
        raise ConfigurationError(
            f"{path.name}: services and {existing[0]} cannot be in one file; keep services, or the keys of a "
            "backfill_config.json"
        )
    return _read_existing(document, path.name, builtin) if existing else _read_current(document, path.name, builtin)


def _read_current(
    document: Mapping[str, Any], file: str, builtin: Mapping[str, ServiceSpec]
) -> tuple[Services, Mapping[str, Any]]:
    unknown = {key: value for key, value in document.items() if key != "services"}
    refuse_unknown(unknown, known=("services", *EXISTING_KEYS), file=file)
    said = document.get("services")
    if not isinstance(said, dict):
        raise ConfigurationError(f"{file}: services must be a mapping of names to values; write {{}} for none")
    return Services(specs={}, file=file), said


def _read_existing(
    document: Mapping[str, Any], file: str, builtin: Mapping[str, ServiceSpec]
) -> tuple[Services, Mapping[str, Any]]:
    translation = translate(document, file=file, builtin=builtin)
    services = Services(
        specs={},
        overrides=translation.overrides,
        notes=translation.notes,
        file=file,
        path="service_settings",
        lookback_key="default_lookback_days",
    )
    return services, translation.services


def _sections(
    said: Mapping[str, Any], services: Services, builtin: Mapping[str, ServiceSpec], problems: Problems
) -> Mapping[str, ServiceSection]:
    """The sections of the services that can be read; a malformed one is left out, so that no check trips over it."""
    sections = {name: ServiceSection() for name in builtin if name not in said}
    for name, value in said.items():
        with problems.collected():
            if unknown := unknown_service(name, builtin):
                raise ConfigurationError(f"{services.file}: {services.path}.{dotted(name)} {unknown}")
            sections[name] = checked(ServiceSection, value, file=services.file, path=(services.path, name))
    return sections


def _merged(spec: ServiceSpec, section: ServiceSection) -> ServiceSpec:
    said = spec_changes(section, but={"tables"})
    tables = {table.slug: table for table in spec.tables}
    for name, table_section in section.tables.items():
        table = _merged_table(spec, name, table_section)
        tables[table.slug] = table
        if not table_section.enabled:
            del tables[table.slug]
    return replace(spec, **said, tables=tuple(tables.values()))


def _merged_table(spec: ServiceSpec, name: str, section: TableSection) -> TableSpec:
    base = _table(spec, name) or replace(spec.tables[0], name=name, columns={}, priority=0)
    said = section.model_dump(exclude={"enabled", "columns"}, exclude_none=True)
    # Where a record calls the field as a filter does, one setting means both: records must be filed by what they
    # were asked for by.
    if section.incremental_field and base.version_field == base.incremental_field:
        said.setdefault("version_field", section.incremental_field)
    return replace(base, **said, columns={**base.columns, **section.columns})


def _table(spec: ServiceSpec, name: str) -> TableSpec | None:
    return spec.table(name) or spec.table(_slug(name))


def _slug(name: str) -> str:
    return TableSpec(name=name, version_field="", incremental_field="").slug


def _contradictions(spec: ServiceSpec, section: ServiceSection, services: Services, today: date) -> Iterator[str]:
    where = f"{services.path}.{dotted(spec.name)}"
    merged = _merged(spec, section)
    if merged.history_start > today:
        yield f"{services.history_setting(spec.name)} ({merged.history_start}) is in the future; today is {today}"
    else:
        yield from lookback_problem(f"{where}.{services.lookback_key}", merged, services, today)
    yield from page_problem(f"{where}.page_size", merged)
    yield from breaker_problem(f"{where}.breaker_failures", merged)
    if not merged.tables:
        yield f"{where}.tables leaves no table to read; set enabled: false for the service of each tenant instead"
    yield from _table_contradictions(spec, section, f"{where}.tables")


def _table_contradictions(spec: ServiceSpec, section: ServiceSection, where: str) -> Iterator[str]:
    first: dict[str, str] = {}
    for name, table in section.tables.items():
        slug = _slug(name)
        if first.setdefault(slug, name) != name:
            yield f"{where}.{dotted(first[slug])} and {where}.{dotted(name)} are the same table; keep one of them"
        if not re.fullmatch(r"[a-z0-9_]+", slug):
            yield f"{where}.{dotted(name)}: a table's name has only letters, digits, _ and /"
        if not table.enabled and _table(spec, name) is None:
            known = hint(name, [table.name for table in spec.tables])
            yield f"{where}.{dotted(name)} cannot be switched off: no such table; {known}"
