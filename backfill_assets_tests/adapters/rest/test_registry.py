"""The list of services that can be read."""

import subprocess
import sys

import pytest

from backfill_assets.adapters.rest.connectwise_tables import CONNECTWISE
from backfill_assets.adapters.rest.registry import connectors
from backfill_assets.adapters.rest.salesforce_tables import SALESFORCE
from backfill_assets.adapters.rest.servicenow_tables import SERVICENOW
from backfill_assets.core.source import ColumnType, ServiceSpec


def test_importing_the_registry_imports_no_http_library() -> None:
    code = "import sys, backfill_assets.adapters.rest.registry; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_connector_is_listed_under_its_specs_name() -> None:
    names = ["connectwise", "servicenow", "salesforce"]
    assert {name: connector.spec.name for name, connector in connectors().items()} == {name: name for name in names}


@pytest.mark.parametrize(
    ("spec", "numbers", "tables"),
    [
        (CONNECTWISE, (730, 30, 200), ["service/tickets", "time/entries", "company/companies", "company/contacts"]),
        (
            SERVICENOW,
            (365, 14, 100),
            ["incident", "change_request", "problem", "sys_user", "core_company", "time_card"],
        ),
        (SALESFORCE, (1095, 7, 1000), ["Account", "Contact", "Opportunity", "Case", "Lead"]),
    ],
    ids=lambda value: value.name if isinstance(value, ServiceSpec) else None,
)
def test_a_service_keeps_the_settings_of_existing_installations(
    spec: ServiceSpec, numbers: tuple[int, int, int], tables: list[str]
) -> None:
    assert (spec.lookback_days, spec.chunk_size_days, spec.requests_per_minute) == numbers
    by_priority = sorted(spec.tables, key=lambda table: -table.priority)
    assert [table.name for table in by_priority] == tables


@pytest.mark.parametrize("spec", [CONNECTWISE, SERVICENOW, SALESFORCE], ids=lambda spec: spec.name)
def test_every_table_types_its_id_and_its_version(spec: ServiceSpec) -> None:
    id_type = ColumnType.INTEGER if spec is CONNECTWISE else ColumnType.STRING
    for table in spec.tables:
        assert table.columns[table.id_field] is id_type
        assert table.columns[table.version_field.replace("/", "__")] is ColumnType.TIMESTAMP
        assert 15 <= len(table.columns) <= 36


def test_a_deleted_record_of_salesforce_says_so_in_a_typed_column() -> None:
    assert all(table.deleted_field == "IsDeleted" for table in SALESFORCE.tables)
    assert all(table.columns["IsDeleted"] is ColumnType.BOOLEAN for table in SALESFORCE.tables)
