"""The product writes between a backfill's look at a row and its write: what the product wrote is kept.

On SQLite nobody comes between: a batch holds the file's write lock.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from backfill_assets_tests.process_metadata.filling import NOW, Filling, in_month, months
from backfill_assets_tests.process_metadata.installations import CUSTOMER, orders
from backfill_assets_tests.process_metadata.products import SQL_KINDS, InSql, url_of

LIVE = "written by the product"


@pytest.fixture(params=SQL_KINDS[1:])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> InSql:
    """An empty database of which several can write at once."""
    return InSql(url=url_of(request.param, request, tmp_path))


@contextmanager
def coming_between(product: InSql, word: str, change: str) -> Iterator[list[str]]:
    """The product makes this change right before the first statement that begins with this word; gives these."""
    seen: list[str] = []

    def before(connection: object, cursor: object, statement: str, *_: Any) -> None:
        if statement.lstrip().startswith(word) and statement.strip() != change:
            seen.append(statement)
            if len(seen) == 1:
                product.execute(change)

    event.listen(Engine, "before_cursor_execute", before)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", before)


def test_a_row_that_comes_between_look_and_insert_is_kept_and_not_counted(server: InSql) -> None:
    server.load(orders(3))
    quote = "`" if "mysql" in server.url else '"'
    columns = f"process_instance_id, {quote}key{quote}, value, updated_at_in_seconds, created_at_in_seconds"
    live = f"INSERT INTO process_instance_metadata ({columns}) VALUES (2, 'customer', '{LIVE}', 1, 1)"
    with server.open() as database, coming_between(server, "INSERT INTO process_instance_metadata", live) as inserts:
        [march] = Filling(database=database).fill([CUSTOMER], months(3, 3))
    assert {place[0]: row.value for place, row in server.rows().items()} == {1: "C0", 2: LIVE, 3: "C2"}
    assert (march.counts.updated, march.counts.unchanged, march.complete) == (2, 1, True)
    # Nothing had to be done once more, instance by instance.
    assert len(inserts) == 1


def test_a_row_that_is_updated_between_look_and_rewrite_is_kept_and_not_counted(server: InSql) -> None:
    shop = orders(3)
    for instance in (1, 2, 3):
        shop.row(instance, CUSTOMER, "old", in_month(2))
    server.load(shop)
    later = int(NOW.timestamp())
    live = (
        f"UPDATE process_instance_metadata SET value = '{LIVE}', updated_at_in_seconds = {later} "
        "WHERE process_instance_id = 2"
    )
    with server.open() as database, coming_between(server, "UPDATE process_instance_metadata", live):
        [march] = Filling(database=database).fill([CUSTOMER], months(3, 3), overwrite_before=NOW)
    assert {place[0]: row.value for place, row in server.rows().items()} == {1: "C0", 2: LIVE, 3: "C2"}
    assert (march.counts.updated, march.counts.unchanged) == (2, 1)
