"""What holds while both tables live: rows that are deleted, written and refused in the middle of a copy."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from backfill_assets.core.tables import OnConflict
from backfill_assets.errors import CredentialRefused, PermanentError, TransientError
from backfill_assets_tests.adapters.tables.ends import Ends

TABLE = "CREATE TABLE t (k int PRIMARY KEY, v text, version int NOT NULL DEFAULT 0)"
FILL = "INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, {rows}) n"


def begun(ends: Ends, **options: Any) -> Iterator[Any]:
    """Stops after each commit of a copy, and at the end."""
    load = ends.load(**options)
    with ends.reading() as source, ends.writing() as destination:
        destination.prepare(load)
        yield from destination.copy(load, source)


def test_a_row_deleted_while_its_batch_was_under_way_does_not_stay(ends: Ends) -> None:
    ends.at_both(TABLE)
    ends.at_source(FILL.format(rows=150))
    copying = begun(ends)
    next(copying)
    # Of the batch that is there, and of the one that has been read meanwhile.
    ends.at_source("DELETE FROM t WHERE k IN (7, 50, 60)")
    list(copying)
    assert ends.same()


def test_a_row_that_others_have_written_since_is_not_deleted(ends: Ends) -> None:
    ends.at_both(TABLE)
    ends.at_source(FILL.format(rows=100))
    ends.at_destination("INSERT INTO t VALUES (8, 'old', 0)")
    copying = begun(ends, on_conflict=OnConflict.KEEP)
    next(copying)
    ends.at_source("DELETE FROM t WHERE k IN (7, 8)")
    ends.at_destination("UPDATE t SET v = 'theirs' WHERE k = 7")
    list(copying)
    assert ends.at_destination("SELECT k, v FROM t WHERE k IN (7, 8) ORDER BY k") == [(7, "theirs"), (8, "old")]


def test_a_batch_whose_run_died_is_asked_for_by_the_next(ends: Ends) -> None:
    ends.at_both(TABLE)
    ends.at_source(FILL.format(rows=100))
    copying: Any = begun(ends)
    next(copying)
    copying.close()
    ends.at_source("DELETE FROM t WHERE k = 7")
    list(begun(ends))
    assert ends.same()


def test_a_row_that_is_lost_at_the_destination_makes_the_job_short(ends: Ends) -> None:
    ends.at_both(TABLE)
    ends.at_source(FILL.format(rows=100))
    ends.at_destination(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN IF NEW.k IN (5, 6) THEN RETURN NULL; END IF;"
        " IF NEW.k = 9 THEN NEW.v = 'other'; END IF; RETURN NEW; END$$;"
        "CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"
    )
    _, verdict = ends.copy(ends.load())
    assert not verdict.complete
    assert [str(short) for short in verdict.short] == ["(start, end]: 2 missing, 1 different"]
    ends.at_destination("DROP TRIGGER t ON t")
    assert ends.copy(ends.load())[1].complete


def test_a_row_that_changed_after_it_was_read_does_not_make_the_job_short(ends: Ends) -> None:
    ends.at_both(TABLE)
    ends.at_source(FILL.format(rows=100))
    load = ends.load()
    with ends.reading() as source, ends.writing() as destination:
        destination.prepare(load)
        list(destination.copy(load, source))
        ends.at_source("UPDATE t SET v = 'later' WHERE k = 3; INSERT INTO t VALUES (1000, 'late')")
        verdict = destination.verify(load, source)
    assert (verdict.complete, verdict.changed, verdict.source_rows) == (True, 2, 101)


@contextmanager
def writers(ends: Ends, write: Any, number: int = 2) -> Iterator[None]:
    """Threads that write to both ends until the block ends."""
    stop = threading.Event()
    failed: list[BaseException] = []

    def run(seed: int) -> None:
        chance = random.Random(seed)
        try:
            with (
                psycopg.connect(ends.source, autocommit=True) as source,
                psycopg.connect(ends.destination, autocommit=True) as destination,
            ):
                while not stop.is_set():
                    write(source, destination, chance.randint(1, 3000))
        except BaseException as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not failed


CARRY = """
    INSERT INTO t VALUES (%s, %s, %s) ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v, version = EXCLUDED.version
    WHERE t.version <= EXCLUDED.version
"""


def change_and_carry(source: Any, destination: Any, key: int) -> None:
    row = source.execute(
        "UPDATE t SET version = version + 1, v = 'live' || version WHERE k = %s RETURNING k, v, version", (key,)
    ).fetchone()
    destination.execute(CARRY, row)


def test_newest_ends_equal_while_a_stream_carries_changes_over(ends: Ends) -> None:
    ends.at_both(TABLE)
    ends.at_source(FILL.format(rows=3000))
    with writers(ends, change_and_carry):
        _, verdict = ends.copy(ends.load(on_conflict=OnConflict.NEWEST, version_column="version", batch_rows=200))
    assert verdict.complete
    assert ends.same()
    assert ends.at_source("SELECT max(version) > 0 FROM t") == [(True,)]


def test_keep_leaves_rows_alone_that_are_written_meanwhile(ends: Ends) -> None:
    ends.at_both(TABLE)
    ends.at_source(FILL.format(rows=3000))

    def write(source: Any, destination: Any, key: int) -> None:
        destination.execute("INSERT INTO t VALUES (%s, 'theirs') ON CONFLICT (k) DO UPDATE SET v = 'theirs'", (key,))

    with writers(ends, write):
        _, verdict = ends.copy(ends.load(on_conflict=OnConflict.KEEP, batch_rows=200))
        theirs = ends.at_destination("SELECT k FROM t WHERE v = 'theirs' ORDER BY k")
    assert verdict.complete
    assert theirs
    kept = dict(ends.at_destination("SELECT k, v FROM t"))
    assert len(kept) == 3000
    assert all(kept[key] == "theirs" for (key,) in theirs)


def test_overwrite_takes_every_row_as_it_was_while_only_the_source_is_written(ends: Ends) -> None:
    ends.at_both(TABLE)
    ends.at_source(FILL.format(rows=3000))
    ends.at_destination("INSERT INTO t SELECT n, 'old', 9 FROM generate_series(1, 100) n")

    def write(source: Any, destination: Any, key: int) -> None:
        source.execute("UPDATE t SET version = version + 1 WHERE k = %s AND k > 1500", (key,))

    with writers(ends, write):
        _, verdict = ends.copy(ends.load(batch_rows=200))
    assert verdict.complete
    still = "SELECT k, v, version FROM t WHERE k <= 1500 ORDER BY k"
    assert ends.at_source(still) == ends.at_destination(still)
    # A second job brings what changed since.
    ends.copy(ends.load(job="second"))
    assert ends.same()


@pytest.mark.parametrize("end", ["source", "destination"])
def test_a_connection_that_breaks_in_the_middle_costs_one_batch(ends: Ends, end: str) -> None:
    ends.at_both(TABLE)
    ends.at_source(FILL.format(rows=1000))
    copying = begun(ends)
    next(copying)
    [(name,)] = (ends.at_source if end == "source" else ends.at_destination)("SELECT current_database()")
    ends.at_source(
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' AND pid <> pg_backend_pid()"
    )
    with pytest.raises(TransientError, match="did not answer"):
        list(copying)
    positions, verdict = ends.copy(ends.load())
    assert positions[0].rows > 50
    assert verdict.complete
    assert ends.same()


def test_a_right_that_is_lacking_is_named(ends: Ends) -> None:
    ends.at_both(TABLE)
    ends.at_source(FILL.format(rows=10))
    [(name,)] = ends.at_destination("SELECT current_database()")
    role = f"role_{name}"
    ends.at_destination(
        f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT SELECT ON t TO {role}; GRANT CREATE ON SCHEMA public TO {role}"
    )
    try:
        poor = Ends(
            source=ends.source, destination=psycopg.conninfo.make_conninfo(ends.destination, user=role, password="x")
        )
        with pytest.raises(CredentialRefused, match="permission denied for table t; grant that right"):
            poor.copy(poor.load())
    finally:
        ends.at_destination(f"DROP OWNED BY {role}; DROP ROLE {role}")


def test_a_disk_without_room_is_no_reason_to_try_again(ends: Ends) -> None:
    ends.at_both(TABLE)
    ends.at_source(FILL.format(rows=10))
    ends.at_destination(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        " RAISE 'could not extend file' USING ERRCODE = '53100'; END$$;"
        "CREATE TRIGGER t BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()"
    )
    with pytest.raises(PermanentError, match=r"has no room .*make room there"):
        ends.copy(ends.load())
    assert ends.at_destination("SELECT count(*) FROM t") == [(0,)]
