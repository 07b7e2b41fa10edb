"""The services file of today: what it changes, and what it may not say."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.configuration.services import lookback_start_is_within_history
from backfill_assets.core.source import ColumnType, Grain, TableSpec
from backfill_assets_tests.configuration.settings_under_test import DESK, TODAY, Files


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(folder=tmp_path)


def test_a_service_that_is_not_in_the_file_stays_as_it_is(files: Files) -> None:
    assert files.load(services={"services": {}}).services == {"desk": DESK}
    assert files.load(services="services: {desk: }").services == {"desk": DESK}


def test_every_setting_of_a_service_can_be_set(files: Files) -> None:
    desk = files.desk(
        lookback_days=100,
        history_start="2024-01-01",
        grain="daily",
        chunk_size_days=7,
        chunks_per_run=2,
        requests_per_minute=60,
        page_size=500,
        sync_frequency="15min",
        overlap_minutes=30,
    )
    assert (desk.lookback_days, desk.history_start, desk.grain) == (100, date(2024, 1, 1), Grain.DAILY)
    assert (desk.chunk_size_days, desk.chunks_per_run, desk.requests_per_minute, desk.page_size) == (7, 2, 60, 500)
    assert (desk.sync_frequency, desk.overlap_minutes) == ("15min", 30)
    assert desk.tables == DESK.tables


def test_yaml_dates_and_json_dates_are_the_same(files: Files) -> None:
    plain = files.load(services="services: {desk: {history_start: 2020-01-01}}")
    quoted = files.load(services={"services": {"desk": {"history_start": "2020-01-01"}}}, services_name="s.json")
    assert plain.services == quoted.services


def test_columns_of_a_known_table_are_added_to_and_corrected(files: Files) -> None:
    desk = files.desk(tables={"service_tickets": {"id_field": "key", "columns": {"id": "string", "score": "number"}}})
    tickets = desk.tables[0]
    assert (tickets.name, tickets.id_field, tickets.version_field) == ("service/tickets", "key", "_info/lastUpdated")
    assert tickets.columns == {"id": ColumnType.STRING, "summary": ColumnType.STRING, "score": ColumnType.NUMBER}
    assert desk.tables[1] == DESK.tables[1]


def test_a_new_table_takes_its_fields_from_the_services_first(files: Files) -> None:
    desk = files.desk(tables={"finance/agreements": {"columns": {"id": "integer"}, "priority": 5}})
    assert desk.tables[2:] == (
        TableSpec(
            name="finance/agreements",
            version_field="_info/lastUpdated",
            incremental_field="lastUpdated",
            columns={"id": ColumnType.INTEGER},
            priority=5,
        ),
    )


def test_a_table_can_be_switched_off(files: Files) -> None:
    assert files.desk(tables={"time/entries": {"enabled": False}}).tables == DESK.tables[:1]


def test_a_name_that_differs_in_case_only_means_the_same_table(files: Files) -> None:
    desk = files.desk(tables={"Service/Tickets": {"priority": 1}})
    assert [table.name for table in desk.tables] == ["service/tickets", "time/entries"]
    assert desk.tables[0].priority == 1


def test_a_field_that_records_and_filters_call_the_same_is_set_by_one_setting(files: Files) -> None:
    _, entries = files.desk(tables={"time/entries": {"incremental_field": "entered"}}).tables
    assert (entries.version_field, entries.incremental_field) == ("entered", "entered")
    tickets, _ = files.desk(tables={"service/tickets": {"incremental_field": "entered"}}).tables
    assert (tickets.version_field, tickets.incremental_field) == ("_info/lastUpdated", "entered")
    said = {"incremental_field": "entered", "version_field": "changed"}
    _, entries = files.desk(tables={"time/entries": said}).tables
    assert (entries.version_field, entries.incremental_field) == ("changed", "entered")


_COUNTS = (
    "lookback_days",
    "chunk_size_days",
    "chunks_per_run",
    "requests_per_minute",
    "page_size",
    "overlap_minutes",
)


@pytest.mark.parametrize("key", _COUNTS)
@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (-3, "-3"), (1.5, "1.5"), (True, "True"), ("30", "'30'"), (None, "nothing")]
)
def test_a_count_is_a_positive_whole_number(files: Files, key: str, value: object, shown: str) -> None:
    assert files.refusal(services={"services": {"desk": {key: value}}}) == [
        f"services.yaml: services.desk.{key} must be a positive whole number, not {shown}"
    ]


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"page_size": 10**7}, "page_size must be a positive whole number of at most 1000000, not 10000000"),
        ({"page_size": 1001}, "page_size (1001) is more than desk sends in a page; write 1000 or less"),
        (
            {"breaker_failures": 4},
            (
                "breaker_failures (4) must be more than 4: a request alone is tried so often, and one bad record would "
                "keep everybody from asking desk"
            ),
        ),
        ({"history_start": "0001-01-02"}, "history_start must be a date from 1970-01-01 on, not '0001-01-02'"),
        ({"history_start": "1969-12-31"}, "history_start must be a date from 1970-01-01 on, not '1969-12-31'"),
        (
            {"foo": 5},
            (
                "foo is not a known setting; known are backfill_hours, breaker_failures, breaker_pause_seconds, "
                "bulk_above_rows, chunk_size_days, chunk_target_rows, chunk_target_seconds, chunks_per_run, grain, "
                "history_start, lookback_days, overlap_minutes, page_size, requests_per_minute, sync_frequency, "
                "tables, timeout_hours"
            ),
        ),
        (
            {"sync_frequency": "nonsense"},
            (
                "sync_frequency must be hourly, daily, minutes or hours like 15min or 2h, or a cron expression like "
                "5 * * * *, not 'nonsense'"
            ),
        ),
        (
            {"sync_frequency": "7min"},
            (
                "sync_frequency must be a number of minutes that an hour can be divided by: 1, 2, 3, 4, 5, 6, 10, 12, "
                "15, 20, 30, 60, not '7min'"
            ),
        ),
        ({"sync_frequency": 15}, "sync_frequency must be a text, not 15"),
        ({"max_page_size": 5}, "max_page_size is not a known setting; the nearest known one is page_size"),
        ({"grain": "hourly"}, "grain must be daily, weekly or monthly, not 'hourly'"),
        ({"grain": None}, "grain must be daily, weekly or monthly, not nothing"),
        ({"history_start": "2023"}, "history_start must be a date like 2023-01-01, not '2023'"),
        ({"history_start": 20230101}, "history_start must be a date like 2023-01-01, not 20230101"),
        ({"history_start": "2025-06-19"}, "history_start (2025-06-19) is in the future; today is 2025-06-18"),
        ({"lookback": 5}, "lookback is not a known setting; the nearest known one is lookback_days"),
        ({"tables": []}, "tables must be a mapping of names to values, not an empty list"),
        ({"tables": {"t": 5}}, "tables.t must be a mapping of names to values, not a single value"),
        (
            {"tables": {"t": {"id": 5}}},
            (
                "tables.t.id is not a known setting; known are columns, deleted_field, enabled, id_field, "
                "incremental_field, priority, version_field"
            ),
        ),
        (
            {"tables": {"t": {"idfield": 5}}},
            "tables.t.idfield is not a known setting; the nearest known one is id_field",
        ),
        ({"tables": {"t": {"id_field": " "}}}, "tables.t.id_field must be a text, not ' '"),
        ({"tables": {"t": {"priority": "high"}}}, "tables.t.priority must be a whole number, not 'high'"),
        ({"tables": {"t": {"enabled": "off"}}}, "tables.t.enabled must be true or false, not 'off'"),
        (
            {"tables": {"t": {"columns": {"id": "int"}}}},
            "tables.t.columns.id must be integer, number, boolean, timestamp, date or string, not 'int'",
        ),
        ({"tables": {"a-b": {}}}, "tables.a-b: a table's name has only letters, digits, _ and /"),
        (
            {"tables": {"time/entrys": {"enabled": False}}},
            "tables.time/entrys cannot be switched off: no such table; the nearest known one is time/entries",
        ),
        (
            {"tables": {"service/tickets": {"enabled": False}, "time/entries": {"enabled": False}}},
            "tables leaves no table to read; set enabled: false for the service of each tenant instead",
        ),
        (
            {"lookback_days": 900},
            (
                "lookback_days (900) begins before services.desk.history_start (2023-01-01); look back "
                "899 days at most, or set an earlier history_start"
            ),
        ),
        (
            {"history_start": "2024-06-18"},
            (
                "lookback_days (730) begins before services.desk.history_start (2024-06-18); look back "
                "365 days at most, or set an earlier history_start"
            ),
        ),
    ],
)
def test_what_a_service_cannot_say_is_refused_with_one_sentence(
    files: Files, section: dict[str, Any], sentence: str
) -> None:
    assert files.refusal(services={"services": {"desk": section}}) == [f"services.yaml: services.desk.{sentence}"]


def test_a_lookback_may_begin_on_the_first_day_of_history(files: Files) -> None:
    assert files.desk(lookback_days=899).lookback_days == (TODAY - DESK.history_start).days == 899


def test_one_table_under_two_names_is_refused(files: Files) -> None:
    tables: dict[str, Any] = {"service/tickets": {}, "service_tickets": {}}
    assert files.refusal(services={"services": {"desk": {"tables": tables}}}) == [
        (
            "services.yaml: services.desk.tables.service/tickets and services.desk.tables.service_tickets are the same "
            "table; keep one of them"
        )
    ]


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"service": {}}, "service is not a known setting; the nearest known one is services"),
        ({"service_setings": {}}, "service_setings is not a known setting; the nearest known one is service_settings"),
        ({"services": None}, "services must be a mapping of names to values; write {} for none"),
        (
            {"services": {"dusk": {}}},
            "services.dusk is not a service that is known; known are desk",
        ),
        (
            {"services": {}, "monitoring": {}},
            "services and monitoring cannot be in one file; keep services, or the keys of a backfill_config.json",
        ),
    ],
)
def test_a_file_of_another_shape_is_refused_with_one_sentence(
    files: Files, document: dict[str, Any], sentence: str
) -> None:
    assert files.refusal(services=document) == [f"services.yaml: {sentence}"]


def test_a_tenant_is_not_blamed_for_a_service_that_is_refused(files: Files) -> None:
    sentences = files.refusal(
        services={"services": {"desk": {"tables": {"new/table": {"priority": "x"}}}}},
        tenants={"tenants": {"acme": {"services": {"desk": {"tables": ["new/table"]}}}}},
    )
    assert sentences == ["services.yaml: services.desk.tables.new/table.priority must be a whole number, not 'x'"]


@given(st.integers(1, 1_000_000), st.dates(max_value=TODAY))
def test_a_lookback_is_within_history_when_its_first_day_is(lookback_days: int, history_start: date) -> None:
    try:
        expected = TODAY - timedelta(days=lookback_days) >= history_start
    except OverflowError:
        expected = False
    within = lookback_start_is_within_history(lookback_days=lookback_days, history_start=history_start, today=TODAY)
    assert within == expected
