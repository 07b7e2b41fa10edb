"""What a backfill needs to be allowed in the product's database, and what it says where it is not."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import make_url

from backfill_assets.adapters.spiffworkflow.opening import open_instances
from backfill_assets.core.dead_letters import MemoryDeadLetters
from backfill_assets.core.windows import utc_now
from backfill_assets.errors import CredentialRefused, PermanentError, TransientError
from backfill_assets.process_metadata.backfill import MonthFailed
from backfill_assets_tests.adapters.spiffworkflow.mariadb import MariaDb
from backfill_assets_tests.process_metadata.filling import Filling, months, total
from backfill_assets_tests.process_metadata.installations import CUSTOMER, TOTAL, orders
from backfill_assets_tests.process_metadata.products import InSql

READ = ("process_instance", "task", "json_data", "process_instance_metadata")


def postgres_role(product: InSql, name: str, *, may_write: bool = True) -> str:
    """A new role that may do just what a backfill needs; return the URL with it."""
    product.execute(f"DROP ROLE IF EXISTS {name}")
    product.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'least'")
    product.execute(f"GRANT SELECT ON {', '.join(READ)} TO {name}")
    if may_write:
        product.execute(f"GRANT INSERT, UPDATE ON process_instance_metadata TO {name}")
        product.execute(f"GRANT USAGE ON SEQUENCE process_instance_metadata_id_seq TO {name}")
    return make_url(product.url).set(username=name, password="least").render_as_string(hide_password=False)


def drop_role(product: InSql, name: str) -> None:
    product.execute(f"DROP OWNED BY {name}")
    product.execute(f"DROP ROLE {name}")


def fill_and_overwrite(url: str) -> None:
    with open_instances(url) as database:
        filling = Filling(database=database)
        assert total(filling.fill([CUSTOMER, TOTAL])).updated == 40
        assert total(filling.fill([replace(CUSTOMER, path="total")], overwrite_before=utc_now())).updated == 20


def test_the_least_role_on_postgresql_is_enough(on_postgres: InSql) -> None:
    on_postgres.load(orders(20))
    url = postgres_role(on_postgres, "least_of_all")
    try:
        fill_and_overwrite(url)
    finally:
        drop_role(on_postgres, "least_of_all")
    assert len(on_postgres.rows()) == 40


@pytest.mark.mariadb
def test_the_least_user_on_mysql_is_enough(mariadb: MariaDb, mariadb_url: str) -> None:
    product = InSql(url=mariadb_url)
    product.load(orders(20))
    database = make_url(mariadb_url).database
    grants = [f"SELECT ON {database}.{table}" for table in READ]
    user = mariadb.user("least", *grants, f"INSERT, UPDATE ON {database}.process_instance_metadata")
    fill_and_overwrite(user.set(database=database).render_as_string(hide_password=False))


def reasons(url: str) -> set[str]:
    with open_instances(url) as database:
        outcomes = list(Filling(database=database).backfill.fill(months(), [CUSTOMER]))
    return {outcome.reason for outcome in outcomes if isinstance(outcome, MonthFailed)}


def test_a_role_that_may_not_write_is_told_what_it_needs(on_postgres: InSql) -> None:
    on_postgres.load(orders(3))
    url = postgres_role(on_postgres, "only_reads", may_write=False)
    try:
        [reason] = reasons(url)
    finally:
        drop_role(on_postgres, "only_reads")
    assert "permission denied for table process_instance_metadata" in reason
    assert "insert into and update the last one" in reason


@pytest.mark.mariadb
def test_a_user_who_may_not_read_is_told_what_it_needs(mariadb: MariaDb, mariadb_url: str) -> None:
    product = InSql(url=mariadb_url)
    product.load(orders(3))
    database = make_url(mariadb_url).database
    user = mariadb.user("hardly", f"SELECT ON {database}.process_instance")
    [reason] = reasons(user.set(database=database).render_as_string(hide_password=False))
    assert "SELECT command denied" in reason
    assert "may select from process_instance, task, json_data" in reason


def test_a_wrong_password_is_refused_at_once_and_never_told(on_postgres: InSql) -> None:
    url = make_url(on_postgres.url).set(password="not-this").render_as_string(hide_password=False)
    with open_instances(url) as database:
        with pytest.raises(CredentialRefused, match="refused us") as refusal:
            database.check()
        assert "not-this" not in str(refusal.value)


def test_a_server_that_is_away_may_come_back(on_postgres: InSql) -> None:
    url = make_url(on_postgres.url).set(port=1).render_as_string(hide_password=False)
    with open_instances(url) as database, pytest.raises(TransientError, match=r"127\.0\.0\.1:1/"):
        database.check()


def test_a_database_of_something_else_is_told_as_such(real_product: InSql) -> None:
    real_product.execute("CREATE TABLE something (id int)")
    with open_instances(real_product.url) as database, pytest.raises(PermanentError, match="of the product"):
        database.spans("m", months(1, 1))


def test_a_sqlite_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    missing = tmp_path / "missing.sqlite3"
    with open_instances(f"sqlite:///{missing}") as database, pytest.raises(PermanentError, match="cannot be used"):
        database.check()
    assert not missing.exists()


def test_nothing_but_metadata_rows_is_written(on_postgres: InSql) -> None:
    on_postgres.load(orders(20))
    before = on_postgres.everything_else()
    with on_postgres.open() as database:
        Filling(database=database, letters=MemoryDeadLetters()).fill([CUSTOMER, TOTAL])
    assert on_postgres.everything_else() == before
