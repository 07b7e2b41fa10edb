"""What holds of a copy from PostgreSQL to PostgreSQL: every matching row arrives once, by the table's real key."""

from typing import Any

import pytest

from backfill_assets.core.tables import Condition, Group, Logic, OnConflict, Operator
from backfill_assets.errors import PermanentError
from backfill_assets_tests.adapters.tables.ends import Ends


def test_a_key_that_is_not_called_id_tells_rows_apart(ends: Ends) -> None:
    """Rows used to be deleted by a column `id` that is not unique: 200 of 1200 were left."""
    ends.at_both("CREATE TABLE t (account_id int PRIMARY KEY, id int)")
    ends.at_source("INSERT INTO t SELECT n, n % 200 FROM generate_series(1, 1200) n")
    positions, verdict = ends.copy(ends.load())
    assert (positions[-1].rows, verdict.source_rows, verdict.complete) == (1200, 1200, True)
    assert ends.same()


def test_a_key_of_several_columns_loses_no_row_between_batches(ends: Ends) -> None:
    """The first column used to be taken for the key: 1198 of 1200 arrived."""
    ends.at_both("CREATE TABLE t (x text, a int, b int, PRIMARY KEY (b, a))")
    ends.at_source("INSERT INTO t SELECT 'x' || n, n / 7, n % 7 FROM generate_series(0, 1199) n")
    ends.copy(ends.load())
    assert ends.same()
    assert ends.at_destination("SELECT count(*) FROM t") == [(1200,)]


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("varchar(5)", "lpad(n::text, 5, '0')"),
        ("text", "'O''Brien \\ ' || n"),
        ("char(9)", "n::text"),
        ("text", "chr(60 + n % 60) || chr(228) || n"),
        ("uuid", "md5(n::text)::uuid"),
        ("numeric", "n / 7.0"),
        ("timestamptz", "timestamptz '2024-03-31 00:30+00' + n * interval '1 minute 1 microsecond'"),
        ("bytea", "decode(md5(n::text), 'hex')"),
        ("double precision", "n / 3.0"),
    ],
)
def test_a_key_of_any_type_is_gone_on_from(ends: Ends, kind: str, key: str) -> None:
    """Cursors without quotes used to fail after the first batch."""
    ends.at_both(f"CREATE TABLE t (k {kind} PRIMARY KEY, v int)")
    ends.at_source(f"INSERT INTO t SELECT {key}, n FROM generate_series(1, 333) n")
    positions, _ = ends.copy(ends.load())
    assert len(positions) == 7
    assert ends.same()


def test_moments_arrive_unshifted_whatever_the_zones_of_the_servers(ends: Ends) -> None:
    """They used to arrive seven hours later."""
    ends.at_both("CREATE TABLE t (k int PRIMARY KEY, at timestamptz, local timestamp)")
    [(name,)] = ends.at_destination("SELECT current_database()")
    ends.at_destination(f"ALTER DATABASE {name} SET timezone = 'Asia/Jakarta'")
    ends.at_source("INSERT INTO t VALUES (1, '2024-01-01 01:00Z', '2024-01-01 01:00')")
    ends.copy(ends.load())
    assert ends.at_destination("SELECT extract(epoch FROM at)::int, local::text FROM t") == [
        (1704070800, "2024-01-01 01:00:00")
    ]


def test_a_missing_table_is_refused_before_reading(ends: Ends) -> None:
    """Such a job used to be COMPLETED with a full count and no row."""
    ends.at_source("CREATE TABLE t (k int PRIMARY KEY)")
    with pytest.raises(PermanentError, match=r"no table public\.t; create it"):
        ends.copy(ends.load())


TYPES = [
    ("numeric", "12345678901234567890.123456789012345678901234567890"),
    ("numeric(20,4)", "-1.5000"),
    ("numeric", "NaN"),
    ("double precision", "0.1"),
    ("double precision", "-Infinity"),
    ("real", "1.1"),
    ("timestamptz", "infinity"),
    ("timestamptz", "4713-01-01 00:00:00 BC"),
    ("timestamp(3)", "2024-02-29 12:00:00.123"),
    ("interval", "1 year 2 mons -3 days 04:05:06.789"),
    ("date", "0044-03-15 BC"),
    ("timetz", "12:00:00+05:30"),
    ("bytea", "\\x00ff5c"),
    ("json", '{"b": 1,   "a": [1, null]}'),
    ("jsonb", '{"a": 1.10}'),
    ("text[]", '{a,NULL,"b c","{}"}'),
    ("int[]", "[0:1][1:2]={{1,2},{3,4}}"),
    ("mood", "so so"),
    ("mood[]", '{"so so",ok}'),
    ("pair", '(1,"a,b")'),
    ("int4range", "[1,5)"),
    ("tstzmultirange", "{[2024-01-01 00:00:00+00,2024-02-01 00:00:00+00)}"),
    ("uuid", "00000000-0000-0000-0000-000000000001"),
    ("inet", "10.0.0.1/8"),
    ("cidr", "2001:db8::/32"),
    ("macaddr", "08:00:2b:01:02:03"),
    ("bit(3)", "101"),
    ("varbit", "10101"),
    ("money", "12.34"),
    ("char(5)", "ab"),
    ('"char"', "x"),
    ("positive", "5"),
    ("tsvector", "'a':1 'b':2"),
    ("point", "(1.5,2)"),
    ("boolean", "t"),
    ("pg_lsn", "16/B374D848"),
    ("text", ""),
]
KINDS = """
    CREATE TYPE mood AS ENUM ('ok', 'so so'); CREATE TYPE pair AS (a int, b text);
    CREATE DOMAIN positive AS int CHECK (VALUE > 0)
"""


def test_every_type_arrives_unchanged(ends: Ends) -> None:
    columns = ", ".join(f"c{number} {kind}" for number, (kind, _) in enumerate(TYPES))
    # Its own numbers for types of one's own: the destination's differ.
    ends.at_destination("CREATE TYPE padding AS (a int); CREATE TYPE more AS (a padding)")
    ends.at_both(f"{KINDS}; CREATE TABLE t (k int PRIMARY KEY, {columns})")
    values = ", ".join("'" + value.replace("'", "''") + "'" for _, value in TYPES)
    ends.at_source(f"INSERT INTO t VALUES (1, {values}); INSERT INTO t (k) VALUES (2)")
    load = ends.load()
    _, verdict = ends.copy(load)
    # Servers before 14 take no binary form that names types of one's own by number.
    assert [column.type for column in load.shape.columns if column.by_text] == ["mood[]", "pair"]
    assert verdict.complete
    assert ends.same()
    assert ends.at_destination("SELECT c0::text FROM t WHERE k = 1") == [(TYPES[0][1],)]


def test_a_table_is_made_with_its_enumerations_generated_and_identity_columns(ends: Ends) -> None:
    ends.at_source("CREATE TYPE mood AS ENUM ('ok', 'so so')")
    ends.at_source(
        'CREATE TABLE "The Table" ("the key" int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "q""uote" mood NOT NULL,'
        ' "select" mood[], twice int GENERATED ALWAYS AS ("the key" * 2) STORED)'
    )
    ends.at_source('INSERT INTO "The Table" ("q""uote") SELECT \'so so\' FROM generate_series(1, 120)')
    load = ends.load("The Table", create_table=True)
    ends.copy(load)
    ends.copy(ends.load("The Table", job="again", create_table=True))
    assert ends.same('"The Table"')


def test_tables_that_differ_are_refused_with_both_lists(ends: Ends) -> None:
    ends.at_source("CREATE TABLE t (k int PRIMARY KEY, v numeric(10,2))")
    ends.at_destination("CREATE TABLE t (k int PRIMARY KEY, v double precision)")
    with pytest.raises(PermanentError, match=r"k integer, v numeric\(10,2\).* k integer, v double precision"):
        ends.copy(ends.load())


def test_a_destination_without_the_key_is_refused(ends: Ends) -> None:
    ends.at_source("CREATE TABLE t (k int PRIMARY KEY)")
    ends.at_destination("CREATE TABLE t (k int)")
    with pytest.raises(PermanentError, match=r"no primary key or unique index on \(k\)"):
        ends.copy(ends.load())


def test_a_unique_index_serves_where_there_is_no_primary_key(ends: Ends) -> None:
    ends.at_both("CREATE TABLE t (v int, k int NOT NULL UNIQUE, n int UNIQUE)")
    ends.at_source("INSERT INTO t SELECT 1, n FROM generate_series(1, 120) n")
    load = ends.load()
    ends.copy(load)
    assert load.shape.key == ("k",)
    assert ends.same()


def test_without_a_key_all_comes_at_once_and_a_repeat_doubles_nothing(ends: Ends) -> None:
    ends.at_both("CREATE TABLE t (v int, w json)")
    ends.at_source("INSERT INTO t SELECT n % 10, CASE WHEN n % 2 = 0 THEN '{}'::json END FROM generate_series(1, 99) n")
    for job in ("one", "two"):
        positions, verdict = ends.copy(ends.load(job=job))
        assert [position.finished for position in positions] == [True]
        assert verdict.complete
    assert ends.same()


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        (Condition(column="v", operator=Operator.EQUAL, values=("O'Brien",)), [3]),
        (Condition(column="v", operator=Operator.IS_NULL), [2]),
        (Condition(column="k", operator=Operator.BETWEEN, values=("2", "3")), [2, 3]),
        (Condition(column="v", operator=Operator.IN, values=("a", "'; DROP TABLE t; --")), [1, 4]),
        (Condition(column="v", operator=Operator.ILIKE, values=("%b_ien",)), [3]),
        (Condition(column="z", operator=Operator.EQUAL, values=("abcd",)), []),
    ],
)
def test_a_filter_passes_just_its_rows(ends: Ends, filter: Condition, expected: list[int]) -> None:
    ends.at_both("CREATE TABLE t (k int PRIMARY KEY, v text, z varchar(3))")
    ends.at_source("INSERT INTO t (k, v) VALUES (1, 'a'), (2, NULL), (3, 'O''Brien'), (4, '''; DROP TABLE t; --')")
    ends.at_source("UPDATE t SET z = 'abc'")
    _, verdict = ends.copy(ends.load(filter=filter))
    assert ends.at_destination("SELECT k FROM t ORDER BY k") == [(key,) for key in expected]
    assert verdict.source_rows == len(expected)


def test_a_filter_of_alternatives_ends(ends: Ends) -> None:
    ends.at_both("CREATE TABLE t (k int PRIMARY KEY, v int)")
    ends.at_source("INSERT INTO t SELECT n, n % 3 FROM generate_series(1, 300) n")
    either = Group(
        logic=Logic.OR,
        members=tuple(Condition(column="v", operator=Operator.EQUAL, values=(value,)) for value in ("1", "2")),
    )
    positions, _ = ends.copy(ends.load(filter=either))
    assert [position.rows for position in positions] == [50, 100, 150, 200]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (OnConflict.OVERWRITE, ["new", "new", "new", "new"]),
        (OnConflict.KEEP, ["old", "old", "old", "new"]),
        (OnConflict.NEWEST, ["new", "new", "old", "new"]),
    ],
)
def test_a_row_that_is_there_is_replaced_as_the_job_says(ends: Ends, mode: OnConflict, expected: list[str]) -> None:
    ends.at_both("CREATE TABLE t (k int PRIMARY KEY, v text, version int)")
    ends.at_source("INSERT INTO t VALUES (1, 'new', 5), (2, 'new', 5), (3, 'new', 5), (4, 'new', 5)")
    ends.at_destination("INSERT INTO t VALUES (1, 'old', 4), (2, 'old', 5), (3, 'old', 6)")
    _, verdict = ends.copy(ends.load(on_conflict=mode, version_column="version"))
    assert [value for (value,) in ends.at_destination("SELECT v FROM t ORDER BY k")] == expected
    assert verdict.complete


def test_newest_without_a_version_column_is_refused(ends: Ends) -> None:
    ends.at_both("CREATE TABLE t (k int PRIMARY KEY)")
    with pytest.raises(PermanentError, match="has no column nothing"):
        ends.copy(ends.load(on_conflict=OnConflict.NEWEST, version_column="nothing"))


def test_a_copy_goes_on_where_it_was_left(ends: Ends) -> None:
    ends.at_both("CREATE TABLE t (k int PRIMARY KEY)")
    ends.at_source("INSERT INTO t SELECT n FROM generate_series(1, 300) n")
    load = ends.load()
    with ends.reading() as source, ends.writing() as destination:
        destination.prepare(load)
        copying: Any = destination.copy(load, source)
        next(copying)
        next(copying)
        copying.close()
    assert ends.at_destination("SELECT count(*) FROM t") == [(100,)]
    positions, verdict = ends.copy(load)
    assert [position.rows for position in positions] == [150, 200, 250, 300]
    assert verdict.complete
    assert ends.same()
    assert ends.copy(load)[0] == []


def test_a_batch_of_wide_rows_ends_at_its_size(ends: Ends) -> None:
    ends.at_both("CREATE TABLE t (k int PRIMARY KEY, v text); ALTER TABLE t ALTER v SET STORAGE EXTERNAL")
    ends.at_source("INSERT INTO t SELECT n, repeat(md5(n::text), 10000) FROM generate_series(1, 150) n")
    positions, verdict = ends.copy(ends.load(batch_rows=150))
    assert len(positions) > 1
    assert verdict.complete
