"""The items of a DynamoDB table `TenantServices`, in both shapes that installations have, in the tenants file's terms.

Here belongs what an item means; it reads nothing. One shape is an item for each service (`service`, `connectwise_url`,
`secret_name`, `tables`, `custom_config`), the other an item for a tenant with its `services` by name. Others write
these items, one tenant at a time: what is wrong with one is told as a note, and only that service is left out.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from backfill_assets.configuration.files import Problems, checked, dotted
from backfill_assets.configuration.secrets import address_fields
from backfill_assets.configuration.tenants import TenantSection, TenantServiceSection, unfit_id
from backfill_assets.core.source import ServiceSpec
from backfill_assets.errors import ConfigurationError

_OTHER_NAMES = {"default_lookback_days": "lookback_days", "rate_limit_requests_per_minute": "requests_per_minute"}
_NUMBERS = set(TenantServiceSection.model_fields) - {"enabled", "base_url", "tables"}
_SECRET_NAME = r"[A-Za-z0-9/_+=.@:-]{1,512}"  # noqa: S105 - what such a name looks like


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one item says of one service of a tenant."""

    tenant: str
    service: str
    section: TenantServiceSection
    secret_name: str | None
    time_zone: str
    is_nested: bool


@dataclass(frozen=True, kw_only=True)
class ItemReader:
    """Reads the items of `table`; `environment` is in the name of a secret that an item does not name itself."""

    table: str
    environment: str | None
    builtin: Mapping[str, ServiceSpec]
    notes: list[str] = field(default_factory=list)

    def entries(self, items: Sequence[Mapping[str, Any]]) -> Sequence[Entry]:
        """What the items say, by tenant and service; of two that speak of one service the flat one counts."""
        found: dict[tuple[str, str], Entry] = {}
        for entry in sorted(self._all(items), key=lambda entry: (entry.tenant, entry.service, entry.is_nested)):
            if found.setdefault((entry.tenant, entry.service), entry) is not entry:
                self.notes.append(
                    f"{self._where(entry.tenant, entry.service)} is there twice; the item with that sort key was read"
                )
        return list(found.values())

    def _all(self, items: Sequence[Mapping[str, Any]]) -> Iterator[Entry]:
        for item in items:
            problems = Problems()
            with problems.collected():
                yield from self._read(item)
            self.notes.extend(problems.taken())

    def _item(self, tenant: str) -> str:
        return f"DynamoDB table {self.table}: tenant_id {dotted(tenant)}"

    def _where(self, tenant: str, service: str) -> str:
        return where(self.table, tenant, service)

    def _read(self, item: Mapping[str, Any]) -> Iterator[Entry]:
        tenant = item.get("tenant_id")
        if not isinstance(tenant, str) or unfit_id(tenant):
            reason = unfit_id(tenant) if isinstance(tenant, str) else "it is no text"
            raise ConfigurationError(f"{self._item(str(tenant))} cannot be a tenant's id: {reason}; correct the item")
        zone = checked(TenantSection, {"time_zone": item.get("time_zone", "UTC")}, file=self._item(tenant)).time_zone
        for service, said in self._services(tenant, item).items():
            problems = Problems()
            with problems.collected():
                yield self._entry(tenant, service, said, zone, is_nested="services" in item)
            self.notes.extend(f"{sentence}; this service is left out" for sentence in problems.taken())

    def _services(self, tenant: str, item: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
        nested, service = item.get("services"), item.get("service")
        if isinstance(nested, dict) and all(isinstance(said, dict) for said in nested.values()):
            is_on = "enabled" not in item or self._enabled(item, self._item(tenant))
            return {name: said if is_on else {**said, "enabled": False} for name, said in nested.items()}
        if nested is None and isinstance(service, str) and service.strip():
            return {service.strip(): item}
        raise ConfigurationError(
            f"{self._item(tenant)} has neither a service, which is a text, nor services, which are maps by name; "
            "correct the item"
        )

    def _entry(self, tenant: str, service: str, said: Mapping[str, Any], time_zone: str, *, is_nested: bool) -> Entry:
        where, spec = self._where(tenant, service), self.builtin.get(service)
        # The numbers are looked at by the same rules as the tenants file's.
        numbers = checked(TenantServiceSection, self._numbers(said.get("custom_config"), where), file=where)
        section = numbers.model_copy(
            update={
                "enabled": self._enabled(said, where),
                "base_url": _address(said, service, where),
                "tables": self._tables(said.get("tables"), spec, where) if spec else None,
            }
        )
        name = self._secret_name(said.get("secret_name"), tenant, where)
        return Entry(
            tenant=tenant,
            service=service,
            section=section,
            secret_name=name,
            time_zone=time_zone,
            is_nested=is_nested,
        )

    def _enabled(self, said: Mapping[str, Any], where: str) -> bool:
        if "enabled" not in said:
            self.notes.append(f"{where} does not say whether it is enabled; it counts as off")
            return False
        flag = _flag(said["enabled"])
        if flag is None:
            raise ConfigurationError(f"{where}: enabled must be true or false")
        return flag

    def _numbers(self, config: object, where: str) -> Mapping[str, int]:
        try:
            said = json.loads(config) if isinstance(config, str) and config.strip() else config or {}
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise ConfigurationError(f"{where}: custom_config is no JSON object")
        named = {_OTHER_NAMES.get(key, str(key)): value for key, value in said.items()}
        if unread := sorted(named.keys() - _NUMBERS):
            self.notes.append(f"{where}: this version has no use for {', '.join(map(dotted, unread))} in custom_config")
        return {key: _whole(value) for key, value in named.items() if key in _NUMBERS}

    def _tables(self, said: object, spec: ServiceSpec, where: str) -> tuple[str, ...] | None:
        if said is None or said == []:
            return None
        if not isinstance(said, list | set) or not all(isinstance(name, str) for name in said):
            raise ConfigurationError(f"{where}: tables must be a list of names")
        known = {name: _table(spec, name) for name in sorted(said)}
        if unknown := [name for name, table in known.items() if table is None]:
            self.notes.append(f"{where}: tables names {', '.join(map(dotted, unknown))}, but there is no such table")
        names = tuple(dict.fromkeys(table for table in known.values() if table is not None))
        if not names:
            raise ConfigurationError(f"{where}: tables names none that is known")
        return names

    def _secret_name(self, said: object, tenant: str, where: str) -> str | None:
        if said is None:
            said = f"tenant/{tenant}/{self.environment}" if self.environment else None
        if said is not None and not (isinstance(said, str) and re.fullmatch(_SECRET_NAME, said.strip())):
            raise ConfigurationError(f"{where}: secret_name is no name that a secret can have")
        return said.strip() if said else None


def where(table: str, tenant: str, service: str) -> str:
    """What begins a sentence about what the table says of a tenant's service."""
    return f"DynamoDB table {table}: tenant_id {dotted(tenant)} service {dotted(service)}"


def _address(said: Mapping[str, Any], service: str, where: str) -> str | None:
    found = {str(said[key]).strip().rstrip("/"): key for key in address_fields(service) if said.get(key)}
    if len(found) > 1:
        raise ConfigurationError(f"{where}: {' and '.join(found.values())} name different addresses")
    return next(iter(found), None)


def _flag(value: object) -> bool | None:
    said = value.strip().lower() if isinstance(value, str) else value
    return {True: True, False: False, "true": True, "false": False}.get(said) if isinstance(said, bool | str) else None


def _whole(value: object) -> Any:
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    return int(value) if isinstance(value, Decimal) and value == value.to_integral_value() else value


def _table(spec: ServiceSpec, name: str) -> str | None:
    """The table's name in full; its last part alone does where only one table ends so."""
    if table := spec.table(name):
        return table.name
    ending = [table.name for table in spec.tables if table.name.rpartition("/")[2].lower() == name.lower()]
    return ending[0] if len(ending) == 1 else None
