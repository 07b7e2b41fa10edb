"""Where a tenant's credentials come from: the names of the variables, their values, and what is missing.

`BACKFILL_<TENANT>_<SERVICE>_<FIELD>` holds a value, the same name with `_FILE` the path of a file that does. The
environment comes in as an argument. No sentence made here shows a value or a path: either may be the secret. A file
that cannot be read is missing, like a variable that is not set: it must not stop the other tenants.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from backfill_assets.configuration.files import Problems
from backfill_assets.core.source import ServiceSpec
from backfill_assets.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class Credential:
    """What was found of one tenant's credential for one service.

    `names` are the variables that hold it, for a message about a refused credential; `missing` those that are not set
    or, with the reason behind the name, cannot be read.
    """

    values: Mapping[str, str] = field(repr=False)
    names: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Address:
    """A service's address without a slash at its end; `missing` like a credential's."""

    url: str | None = None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """What a variable holds; `trouble` names it with the reason why it cannot be read."""

    value: str | None = None
    trouble: str | None = None


def variable_name(tenant: str, service: str, credential_field: str) -> str:
    """The variable that holds this field of a tenant's credential."""
    return f"BACKFILL_{_shouted(tenant)}_{_shouted(service)}_{_shouted(credential_field)}"


def variable_names(tenant: str, spec: ServiceSpec) -> frozenset[str]:
    """Every variable that is read for this tenant's service."""
    names = {variable_name(tenant, spec.name, name) for name in (*_all_fields(spec), spec.address_field)}
    return frozenset(names | {f"{name}_FILE" for name in names})


def collisions(accounts: Iterable[tuple[str, ServiceSpec]]) -> Iterator[str]:
    """One sentence for each two (tenant, service) whose credentials would be read from the same variable."""
    owners: dict[str, tuple[str, str]] = {}
    told: set[tuple[str, str]] = set()
    for tenant, spec in accounts:
        mine = (tenant, spec.name)
        # The bare prefix too: accounts that share it would collide with the next field that either service gets.
        for variable in sorted({variable_name(tenant, spec.name, ""), *variable_names(tenant, spec)}):
            owner = owners.setdefault(variable, mine)
            if owner != mine and owner not in told:
                told.add(owner)
                yield _collision(owner, mine, variable)
        told.clear()


def find_credential(environ: Mapping[str, str], tenant: str, spec: ServiceSpec) -> Credential:
    """Read all fields but the address; a required one that is not set is missing, and so is any that is unreadable."""
    values: dict[str, str] = {}
    names: list[str] = []
    missing: list[str] = []
    required = _required_fields(environ, tenant, spec)
    for credential_field in _all_fields(spec):
        variable = variable_name(tenant, spec.name, credential_field)
        found, is_required = _reading(environ, variable), credential_field in required
        if found.value is not None:
            values[credential_field] = found.value
        elif is_required or found.trouble:
            missing.append(found.trouble or variable)
        if is_required or found != _Reading():
            names.append(f"{variable}_FILE" if _is_set(environ, f"{variable}_FILE") else variable)
    return Credential(values=values, names=tuple(names), missing=tuple(missing))


def find_address(
    environ: Mapping[str, str], tenant: str, spec: ServiceSpec, written: str | None, *, setting: str, problems: Problems
) -> Address:
    """The service's address; `written` is what the tenants file says under `setting`."""
    variable = variable_name(tenant, spec.name, spec.address_field)
    given = _reading(environ, variable)
    missing = (given.trouble,) if given.trouble else ()
    with problems.collected():
        from_file, from_environment = _address(written, setting), _address(given.value, variable)
        if from_file and from_environment and from_file != from_environment:
            raise ConfigurationError(f"{setting} and {variable} name different addresses; remove one of them")
        return Address(url=from_file or from_environment, missing=missing)
    return Address(missing=missing)


def _all_fields(spec: ServiceSpec) -> tuple[str, ...]:
    fields = (*spec.credential_fields, *spec.optional_credential_fields)
    return tuple(name for name in fields if name != spec.address_field)


def _required_fields(environ: Mapping[str, str], tenant: str, spec: ServiceSpec) -> set[str]:
    together = [variable_name(tenant, spec.name, name) for name in spec.optional_together]
    is_any_set = any(_is_set(environ, name) or _is_set(environ, f"{name}_FILE") for name in together)
    return set(spec.credential_fields) - (set() if is_any_set else set(spec.optional_together))


def _shouted(name: str) -> str:
    return re.sub(r"[^A-Z0-9]", "_", name.upper())


def _collision(one: tuple[str, str], other: tuple[str, str], variable: str) -> str:
    return (
        f"{one[1]} of tenant {one[0]!r} and {other[1]} of tenant {other[0]!r} would read their credentials from the "
        f"same variables ({variable.rstrip('_')}...); rename one of the tenants"
    )


def _is_set(environ: Mapping[str, str], variable: str) -> bool:
    return bool(environ.get(variable, "").strip())


def _reading(environ: Mapping[str, str], variable: str) -> _Reading:
    if not _is_set(environ, f"{variable}_FILE"):
        return _Reading(value=environ.get(variable, "").strip() or None)
    if _is_set(environ, variable):
        return _Reading(trouble=f"{variable} ({variable}_FILE is set too; remove one of them)")
    return _content(environ[f"{variable}_FILE"].strip(), f"{variable}_FILE")


def _content(path: str, variable: str) -> _Reading:
    try:
        content = Path(path).read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        reason = error.strerror or "it is not a file"
    except ValueError:
        reason = "it is not UTF-8 text"
    else:
        if content:
            return _Reading(value=content)
        reason = "it is empty"
    return _Reading(trouble=f"{variable} (cannot be read: {reason})")


def _address(text: str | None, setting: str) -> str | None:
    if text is None:
        return None
    if not _is_web_address(text):
        raise ConfigurationError(
            f"{setting} must be an address like https://api.example.com, without a user or a query"
        )
    return text.rstrip("/")


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return False
    plain = not re.search(r"[\s?#@\\]|[^ -~]", text)
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname)
