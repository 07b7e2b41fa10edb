"""An existing `backfill_config.json`, as what the services file of today would say.

Here belongs that file's own vocabulary and its translation; it has to load unchanged, so what is not known in it
becomes a note, while a known setting that holds nonsense is refused like anywhere else.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict, Field

from backfill_assets.configuration.files import Section, checked, dotted
from backfill_assets.configuration.values import MaybeCount, MaybeDay, MaybeHours, MaybeTexts
from backfill_assets.core.source import ServiceSpec

EXISTING_KEYS = ("default_settings", "service_settings", "tenant_overrides", "scheduling", "monitoring")

_UNREAD = {
    *("max_concurrent_jobs", "retry_attempts", "monitoring"),
    *("auto_detect_frequency_minutes", "max_parallel_tenants"),
    *("optional_endpoints", "master_data_endpoints", "transactional_data_endpoints"),
}
"""Known settings that nothing reads: retries, pace and concurrency are decided elsewhere now."""

_NEW_NAMES = {
    "default_lookback_days": "lookback_days",
    "chunk_size_days": "chunk_size_days",
    "rate_limit_requests_per_minute": "requests_per_minute",
    "history_start": "history_start",
    "timeout_hours": "timeout_hours",
}


@dataclass(frozen=True, kw_only=True)
class Translation:
    """`services` as a services file would say it; `overrides` by tenant and service; `notes` for a person."""

    services: Mapping[str, Mapping[str, Any]]
    overrides: Mapping[str, Mapping[str, Mapping[str, int]]]
    notes: tuple[str, ...]


def translate(document: object, *, file: str, builtin: Mapping[str, ServiceSpec]) -> Translation:
    """Say in today's words what the file says; a setting that is known but malformed raises `ConfigurationError`."""
    config = checked(_Config, document, file=file)
    services = {name: _service(builtin[name], section, config) for name, section in _known(config, builtin)}
    return Translation(
        services=dict.fromkeys(builtin, _for_all(config)) | services,
        overrides={tenant: _overrides(sections) for tenant, sections in config.tenant_overrides.items()},
        notes=tuple(f"{file}: {note}" for note in _notes(config, builtin)),
    )


class _Loose(Section):
    model_config = ConfigDict(frozen=True, extra="allow")

    def new_settings(self) -> dict[str, Any]:
        """What is set, under today's names."""
        said = self.model_dump(include=set(_NEW_NAMES), exclude_none=True)
        return {_NEW_NAMES[name]: value for name, value in said.items()}


class _Defaults(_Loose):
    chunk_size_days: MaybeCount = None
    timeout_hours: MaybeCount = None


class _Scheduling(_Loose):
    backfill_window_hours: MaybeHours = None


class _Service(_Loose):
    default_lookback_days: MaybeCount = None
    chunk_size_days: MaybeCount = None
    rate_limit_requests_per_minute: MaybeCount = None
    priority_endpoints: MaybeTexts = None
    # Not in files of old: the way out for one whose lookback begins before the default start of history.
    history_start: MaybeDay = None


class _Override(_Loose):
    default_lookback_days: MaybeCount = None
    chunk_size_days: MaybeCount = None


class _Config(_Loose):
    default_settings: _Defaults = Field(default_factory=_Defaults)
    service_settings: dict[str, _Service] = Field(default_factory=dict)
    tenant_overrides: dict[str, dict[str, _Override]] = Field(default_factory=dict)
    scheduling: _Scheduling = Field(default_factory=_Scheduling)


def _spoken_of(config: _Config) -> Iterator[str]:
    yield from config.service_settings
    for sections in config.tenant_overrides.values():
        yield from sections


def _known(config: _Config, builtin: Mapping[str, ServiceSpec]) -> Iterator[tuple[str, _Service]]:
    return ((name, section) for name, section in config.service_settings.items() if name in builtin)


def _service(spec: ServiceSpec, section: _Service, config: _Config) -> dict[str, Any]:
    said = _for_all(config) | section.new_settings()
    priorities = _priorities(spec, section.priority_endpoints or ())
    return said | {"tables": {name: {"priority": priority} for name, priority in priorities.items()}}


def _for_all(config: _Config) -> dict[str, Any]:
    """What the file says of every service."""
    hours = config.scheduling.backfill_window_hours
    return config.default_settings.new_settings() | ({"backfill_hours": hours} if hours else {})


def _priorities(spec: ServiceSpec, endpoints: tuple[str, ...]) -> Mapping[str, int]:
    """Priorities by table name that put these first, in their order, ahead of every table that is not among them."""
    named = list(dict.fromkeys(table.name for endpoint in endpoints if (table := spec.table(endpoint))))
    others = max((table.priority for table in spec.tables if table.name not in named), default=0)
    return {name: others + len(named) - index for index, name in enumerate(named)}


def _overrides(sections: Mapping[str, _Override]) -> Mapping[str, Mapping[str, int]]:
    return {service: section.new_settings() for service, section in sections.items()}


def _notes(config: _Config, builtin: Mapping[str, ServiceSpec]) -> Iterator[str]:
    if hours := config.scheduling.backfill_window_hours:
        yield (
            f"scheduling.backfill_window_hours ({hours}), which nothing read before, is in force now: history is read "
            "only in these hours of each tenant's time_zone; remove it to read around the clock"
        )
    unread: list[str] = []
    for path in _unknown_keys(config, builtin):
        if path[-1] in _UNREAD:
            unread.append(dotted(*path))
        else:
            yield f"{dotted(*path)} is not a known setting and was not read"
    if unread:
        yield f"this version has no use for {', '.join(unread)}"
    for name, section in _known(config, builtin):
        for endpoint in section.priority_endpoints or ():
            if builtin[name].table(endpoint) is None:
                yield f"service_settings.{name}.priority_endpoints: {endpoint!r} is not a known table and is not read"
    for name in dict.fromkeys(_spoken_of(config)):
        if name not in builtin:
            yield f"the settings of {dotted(name)} were not read: this version has no client for it"


def _unknown_keys(config: _Config, builtin: Mapping[str, ServiceSpec]) -> Iterator[tuple[str, ...]]:
    yield from ((key,) for key in config.model_extra or ())
    yield from (("default_settings", key) for key in config.default_settings.model_extra or ())
    yield from (("scheduling", key) for key in config.scheduling.model_extra or ())
    for name, section in _known(config, builtin):
        yield from (("service_settings", name, key) for key in section.model_extra or ())
    for tenant, sections in config.tenant_overrides.items():
        for service, override in sections.items():
            yield from (("tenant_overrides", tenant, service, key) for key in override.model_extra or ())
