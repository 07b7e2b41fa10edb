"""The mapping files: what they map is there, fits its type, and what is malformed is refused with a sentence."""

import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from backfill_assets.adapters.rest.connectwise_tables import CONNECTWISE
from backfill_assets.adapters.rest.registry import BUILT_IN
from backfill_assets.core.source import ColumnType
from backfill_assets.errors import ConfigurationError
from backfill_assets.tenant_history.canonical.mapping import (
    MAPPINGS,
    CanonicalColumn,
    Constant,
    RawColumn,
    canonical_tables,
    entities,
    read_entity,
)
from backfill_assets.tenant_history.rows import RowFitter

FITS = {
    ColumnType.STRING: {ColumnType.STRING, ColumnType.INTEGER},
    ColumnType.INTEGER: {ColumnType.INTEGER},
    ColumnType.NUMBER: {ColumnType.NUMBER, ColumnType.INTEGER},
    ColumnType.BOOLEAN: {ColumnType.BOOLEAN},
    ColumnType.TIMESTAMP: {ColumnType.TIMESTAMP},
    ColumnType.DATE: {ColumnType.DATE, ColumnType.TIMESTAMP},
}
"""The raw types that a canonical type can be made from without a value being lost or refused."""


def test_these_tables_of_these_services_become_canonical() -> None:
    found = {
        name: {table.entity: {source.table.name for source in table.sources} for table in canonical_tables(known.spec)}
        for name, known in BUILT_IN.items()
    }
    assert found == {
        "connectwise": {
            "tickets": {"service/tickets"},
            "time_entries": {"time/entries"},
            "companies": {"company/companies"},
            "contacts": {"company/contacts"},
        },
        "servicenow": {
            "tickets": {"incident", "change_request", "problem"},
            "time_entries": {"time_card"},
            "companies": {"core_company"},
            "contacts": {"sys_user"},
        },
        "salesforce": {"tickets": {"Case"}, "companies": {"Account"}, "contacts": {"Contact"}},
    }


def test_every_mapped_raw_column_is_declared_with_a_type_that_fits() -> None:
    wrong = [
        f"{service}/{source.table.name}: {column.name} from {origin.name}"
        for service, known in BUILT_IN.items()
        for table in canonical_tables(known.spec)
        for source in table.sources
        for column in table.columns
        if isinstance(origin := source.origins.get(column.name), RawColumn)
        and RowFitter(source.table).types.get(origin.name) not in FITS[column.type]
    ]
    assert wrong == []


def test_every_table_that_a_file_maps_is_one_of_a_services() -> None:
    for entity in entities():
        for service, tables in entity.sources.items():
            assert tables.keys() <= {table.name for table in BUILT_IN[service].spec.tables}


def test_every_canonical_column_comes_from_some_service() -> None:
    for entity in entities():
        mapped = {name for tables in entity.sources.values() for origins in tables.values() for name in origins}
        assert mapped == {column.name for column in entity.columns}


def test_the_time_and_the_author_of_an_update_make_no_version() -> None:
    """Else no two versions could be equal."""
    for entity in entities():
        assert {column.name for column in entity.columns if not column.tracked} == {"updated_at", "updated_by"}
        for service, tables in entity.sources.items():
            for name, origins in tables.items():
                spec = BUILT_IN[service].spec.table(name)
                assert spec is not None
                of_update = RawColumn(name=spec.version_field.replace("/", "__"))
                assert [column for column, origin in origins.items() if origin == of_update] == ["updated_at"]


def test_a_ticket_has_about_35_columns_that_are_tracked() -> None:
    [tickets] = [entity for entity in entities() if entity.name == "tickets"]
    assert 35 <= sum(column.tracked for column in tickets.columns) <= 40


def test_a_table_that_is_switched_off_is_no_source_and_an_entity_without_sources_is_no_table() -> None:
    spec = BUILT_IN["servicenow"].spec
    fewer = replace(spec, tables=tuple(t for t in spec.tables if t.name not in ("incident", "time_card")))
    found = {table.entity: [source.table.name for source in table.sources] for table in canonical_tables(fewer)}
    assert found["tickets"] == ["change_request", "problem"]
    assert "time_entries" not in found


def test_a_service_that_no_file_mentions_has_no_canonical_tables() -> None:
    assert canonical_tables(replace(CONNECTWISE, name="helpdesk")) == ()


def written(folder: Path, text: str) -> Path:
    path = folder / "things.yaml"
    path.write_text(text)
    return path


def test_a_mapping_file_is_read(tmp_path: Path) -> None:
    text = """
columns:
  name: string
  is_open: boolean
  seen_at: {type: timestamp, tracked: false}
sources:
  desk:
    service/things:
      name: {constant: a thing}
      is_open: {not: closed}
      seen_at: _info__seen
"""
    entity = read_entity(written(tmp_path, text))
    assert entity.name == "things"
    assert entity.columns == (
        CanonicalColumn(name="name", type=ColumnType.STRING),
        CanonicalColumn(name="is_open", type=ColumnType.BOOLEAN),
        CanonicalColumn(name="seen_at", type=ColumnType.TIMESTAMP, tracked=False),
    )
    assert entity.sources == {
        "desk": {
            "service/things": {
                "name": Constant(text="a thing"),
                "is_open": RawColumn(name="closed", negated=True),
                "seen_at": RawColumn(name="_info__seen"),
            }
        }
    }


TYPE = "must be one of integer, number, boolean, timestamp, date, string, or {type: one of them, tracked: false}"
ORIGIN = "must be the name of a raw column, {not: a flag's name} or {constant: a text}"


@pytest.mark.parametrize(
    ("columns", "origin", "sentence"),
    [
        ("{a: text}", "{}", f"columns.a {TYPE}, not 'text'"),
        ("{a: {type: date, tracked: maybe}}", "{}", f"columns.a {TYPE}, not a mapping"),
        ("{a: {type: date, track: false}}", "{}", f"columns.a {TYPE}, not a mapping"),
        ("[a]", "{}", "columns must be a mapping of names to values, not a list"),
        ("{}", "{}", "columns is empty; write at least one column with its type"),
        ("{A b: date}", "{}", "columns.'A b' is no name for a column; write lower-case letters, digits and _"),
        (
            "{source_id: string}",
            "{}",
            "columns.source_id is a column that every canonical table has already; name it otherwise",
        ),
        ("{a: date}", "{a: 7}", f"sources.desk.t.a {ORIGIN}, not 7"),
        ("{a: date}", "{a: ''}", f"sources.desk.t.a {ORIGIN}, not ''"),
        ("{a: date}", "{a: {not: x, constant: y}}", f"sources.desk.t.a {ORIGIN}, not a mapping"),
        (
            "{due: date}",
            "{duw: x}",
            "sources.desk.t.duw is not among the entity's columns; the nearest known one is due",
        ),
        (
            "{a: date}",
            "{a: {constant: x}}",
            "sources.desk.t.a is a constant text, but the column is a date; name a raw column",
        ),
        (
            "{a: date}",
            "{a: {not: x}}",
            "sources.desk.t.a is the opposite of a flag, but the column is a date; name a raw column without not",
        ),
    ],
)
def test_a_malformed_mapping_is_refused_with_file_key_and_what_to_write(
    tmp_path: Path, columns: str, origin: str, sentence: str
) -> None:
    path = written(tmp_path, f"columns: {columns}\nsources: {{desk: {{t: {origin}}}}}\n")
    with pytest.raises(ConfigurationError) as refused:
        read_entity(path)
    assert str(refused.value) == f"things.yaml: {sentence}"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("columns: {a: date}\n", "things.yaml: sources is missing"),
        ("columns: {a: date}\nsources: {}\nmore: 1\n", "things.yaml: more is not a known setting; known are "),
        ("columns: {a: date, a: date}\n", "things.yaml, line 1: this is not YAML that can be read: 'a' is there twice"),
    ],
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        read_entity(written(tmp_path, text))
    assert str(refused.value).startswith(sentence)


def test_an_installed_package_has_the_mapping_files() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["backfill_assets.tenant_history.canonical"]
    root = MAPPINGS.parent
    assert {path for pattern in patterns for path in root.glob(pattern)} == set(MAPPINGS.iterdir())


def test_neither_the_mappings_nor_the_use_case_load_duckdb() -> None:
    program = "import sys, backfill_assets.tenant_history.canonical.building as b; print('duckdb' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert ran.stdout == "False\n"
