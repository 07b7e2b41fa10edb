"""The list of services that can be read."""

import subprocess
import sys

from backfill_assets.adapters.rest.connectwise_tables import CONNECTWISE
from backfill_assets.adapters.rest.registry import connectors
from backfill_assets.core.source import ColumnType


def test_importing_the_registry_imports_no_http_library() -> None:
    code = "import sys, backfill_assets.adapters.rest.registry; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_connector_is_listed_under_its_specs_name() -> None:
    assert {name: connector.spec.name for name, connector in connectors().items()} == {"connectwise": "connectwise"}


def test_connectwise_keeps_the_settings_of_existing_installations() -> None:
    assert (CONNECTWISE.lookback_days, CONNECTWISE.chunk_size_days, CONNECTWISE.requests_per_minute) == (730, 30, 200)
    by_priority = sorted(CONNECTWISE.tables, key=lambda table: -table.priority)
    assert [table.name for table in by_priority] == [
        "service/tickets",
        "time/entries",
        "company/companies",
        "company/contacts",
    ]


def test_every_table_types_its_id_and_its_version() -> None:
    for table in CONNECTWISE.tables:
        assert table.columns["id"] is ColumnType.INTEGER
        assert table.columns["_info__lastUpdated"] is ColumnType.TIMESTAMP
        assert 15 <= len(table.columns) <= 33
