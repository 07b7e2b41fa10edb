"""A tenant's secret from a store: its fields, and how they fill in where no environment variable is set.

Here belongs what the text of a secret means. Fetching it belongs to the adapters, variables to
`configuration.credentials`. No sentence made here shows what a secret holds.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from backfill_assets.configuration.credentials import Address, Credential, find_address, find_credential, variable_name
from backfill_assets.configuration.files import Problems
from backfill_assets.core.source import ServiceSpec

_ADDRESSES = ("base_url", "api_url", "api_base_url", "instance_url")


@dataclass(frozen=True, kw_only=True)
class Secret:
    """What a store holds of one tenant's account; `name` for sentences, `trouble` names it with what is wrong."""

    name: str
    fields: Mapping[str, str] = field(default_factory=dict, repr=False)
    trouble: str | None = None

    def address(self, service: str) -> str | None:
        """The service's address, where the secret holds it."""
        return next((self.fields[name] for name in address_fields(service) if name in self.fields), None)


def address_fields(service: str) -> tuple[str, ...]:
    """The names under which a service's address is kept."""
    return f"{service}_url", *_ADDRESSES


def parse_secret(name: str, text: str, service: str) -> Secret:
    """The fields of a secret: of the service's own object in it, where it has one by service, else of all of it."""
    told_as = f"secret {name}"
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        held = None
    if isinstance(held, dict) and service in held:
        held, told_as = held[service], f"secret {name} ({service})"
    if not isinstance(held, dict):
        return Secret(name=told_as, trouble=f"{told_as} (cannot be read: it is no JSON object)")
    return Secret(name=told_as, fields=dict(_texts(held)))


def complete_credential(
    environ: Mapping[str, str], tenant: str, spec: ServiceSpec, secret: Secret | None
) -> Credential:
    """What the environment says of a credential, and the secret where no variable says it."""
    if secret is None:
        return find_credential(environ, tenant, spec)
    # The secret's fields count as variables that are set, so that the rules about fields are the same for both.
    filled, prefix = _unset(environ, tenant, spec, secret), variable_name(tenant, spec.name, "")
    credential = find_credential({**environ, **filled}, tenant, spec)
    names = dict.fromkeys(secret.name if name in filled else name for name in credential.names)
    missing = [
        f"{name} (or {name.removeprefix(prefix).lower()} in {secret.name})" if name in names else name
        for name in credential.missing
    ]
    if secret.trouble and missing:
        missing = [secret.trouble]
    return replace(credential, names=tuple(names), missing=tuple(missing))


def complete_address(
    environ: Mapping[str, str], tenant: str, spec: ServiceSpec, written: str | None, *, setting: str, problems: Problems
) -> Address:
    """The address that a variable holds, else the one that is written under `setting`."""
    given = find_address(environ, tenant, spec, None, setting=setting, problems=problems)
    if given.url or given.missing:
        return given
    return find_address(environ, tenant, spec, written, setting=setting, problems=problems)


def _unset(environ: Mapping[str, str], tenant: str, spec: ServiceSpec, secret: Secret) -> dict[str, str]:
    # Only the service's own fields: with any other, a secret could name a file of this machine (..._FILE).
    wanted = {*spec.credential_fields, *spec.optional_credential_fields} - {*address_fields(spec.name)}
    named = {variable_name(tenant, spec.name, name): value for name, value in secret.fields.items() if name in wanted}
    return {name: value for name, value in named.items() if not _is_set(environ, name)}


def _is_set(environ: Mapping[str, str], variable: str) -> bool:
    return any(environ.get(name, "").strip() for name in (variable, f"{variable}_FILE"))


def _texts(held: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in held.items():
        if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
            yield name, str(value).strip()
