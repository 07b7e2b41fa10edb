"""A service of its own and files on disk, for the tests of the settings; nothing here knows a real service."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from backfill_assets.core.source import ColumnType, ServiceSpec, TableSpec
from backfill_assets.errors import ConfigurationError
from backfill_assets.settings import Settings, load_settings

TODAY = date(2025, 6, 18)

DESK = ServiceSpec(
    name="desk",
    tables=(
        TableSpec(
            name="service/tickets",
            version_field="_info/lastUpdated",
            incremental_field="lastUpdated",
            columns={"id": ColumnType.INTEGER, "summary": ColumnType.STRING},
            priority=20,
        ),
        TableSpec(name="time/entries", version_field="changed", incremental_field="changed", priority=10),
    ),
    credential_fields=("company_id", "private_key"),
    optional_credential_fields=("api_base_url", "note"),
    lookback_days=730,
    chunk_size_days=30,
    requests_per_minute=200,
)

DESK_CREDENTIAL = {"BACKFILL_ACME_DESK_COMPANY_ID": "acme-inc", "BACKFILL_ACME_DESK_PRIVATE_KEY": "hush-hush"}
DESK_ADDRESS = "https://desk.example.com"


@dataclass(frozen=True, kw_only=True)
class Files:
    """Writes settings files into a folder and loads what they say."""

    folder: Path

    def write(self, name: str, content: object) -> str:
        """Write a text as it is and anything else in the file's own language; return the path."""
        path = self.folder / name
        spoken = json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content, sort_keys=False)
        path.write_text(content if isinstance(content, str) else spoken, encoding="utf-8")
        return str(path)

    def load(
        self,
        *,
        services: object = None,
        tenants: object = None,
        environ: Mapping[str, str] | None = None,
        builtin: Mapping[str, ServiceSpec] | None = None,
        services_name: str = "services.yaml",
    ) -> Settings:
        """Load with these files; None is no file."""
        named = dict(environ or {})
        if services is not None:
            named["BACKFILL_SERVICES_FILE"] = self.write(services_name, services)
        if tenants is not None:
            named["BACKFILL_TENANTS_FILE"] = self.write("tenants.yaml", tenants)
        return load_settings(named, builtin={"desk": DESK} if builtin is None else builtin, today=TODAY)

    def refusal(self, **said: Any) -> list[str]:
        """The sentences with which loading this is refused."""
        with pytest.raises(ConfigurationError) as refused:
            self.load(**said)
        return str(refused.value).split("\n")

    def desk(self, **section: Any) -> ServiceSpec:
        """The desk after the services file said this about it."""
        return self.load(services={"services": {"desk": section}}).services["desk"]


def acme(**desk: Any) -> Mapping[str, Any]:
    """A tenants file with one tenant that says this about its desk."""
    return {"tenants": {"acme": {"services": {"desk": desk}}}}
