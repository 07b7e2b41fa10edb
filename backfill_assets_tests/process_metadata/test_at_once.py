"""Backfills beside each other and beside the product, which goes on writing: nothing lost, nothing twice."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event, Thread

from sqlalchemy import create_engine
from sqlalchemy.exc import IntegrityError, OperationalError

from backfill_assets.sandbox.spiffworkflow.peculiar import fields, installation
from backfill_assets.sandbox.spiffworkflow.schema import ROWS
from backfill_assets.sandbox.spiffworkflow.truth import expected
from backfill_assets_tests.process_metadata.filling import Filling, total
from backfill_assets_tests.process_metadata.installations import CUSTOMER, orders
from backfill_assets_tests.process_metadata.products import InSql

LIVE = "written by the product"


def test_two_backfills_of_the_same_fields_at_once_write_each_row_once(real_product: InSql) -> None:
    held, asked = installation(21, instances=200), fields(3)
    real_product.load(held)

    def fill(batch_size: int) -> tuple[int, int]:
        with real_product.open() as database:
            filling = Filling(database=database, batch_size=batch_size)
            counts = total(filling.fill(asked))
        return counts.updated, counts.unchanged

    with ThreadPoolExecutor(2) as pool:
        [one, other] = pool.map(fill, (5, 7))
    owed = expected(held, asked)
    assert {place: row.value for place, row in real_product.rows().items()} == owed
    assert one[0] + other[0] == len(owed)
    assert one[1] + other[1] == len(owed)


@contextmanager
def product_writing(product: InSql, instances: int) -> Iterator[set[int]]:
    """Meanwhile the product writes live rows of the same key, in another order; gives those that it got in."""
    written: set[int] = set()
    ended = Event()

    def write() -> None:
        engine = create_engine(product.url)
        for place in range(instances):
            if ended.is_set():
                break
            instance = (place * 37) % instances + 1
            row = {"process_instance_id": instance, "key": CUSTOMER.key, "value": LIVE}
            try:
                with engine.begin() as connection:
                    connection.execute(ROWS.insert(), {**row, "updated_at_in_seconds": 1, "created_at_in_seconds": 1})
                written.add(instance)
            except IntegrityError:
                pass  # the backfill was there first, and the product would go on to update the row
            except OperationalError:
                time.sleep(0.01)  # SQLite's writer is busy
        engine.dispose()

    thread = Thread(target=write)
    thread.start()
    try:
        yield written
    finally:
        ended.set()
        thread.join()


def test_a_row_that_the_product_writes_meanwhile_is_kept(real_product: InSql) -> None:
    instances = 400
    real_product.load(orders(instances))
    with real_product.open() as database, product_writing(real_product, instances) as written:
        while not written:
            time.sleep(0.001)
        [march] = [one for one in Filling(database=database, batch_size=5).fill([CUSTOMER]) if one.counts.processed]
    values = {place[0]: row.value for place, row in real_product.rows().items()}
    assert values == {n: LIVE if n in written else f"C{n - 1}" for n in range(1, instances + 1)}
    assert march.counts.updated == sum(value != LIVE for value in values.values())
    assert march.counts.updated + march.counts.unchanged == instances
    assert march.complete


def test_a_row_that_the_product_writes_meanwhile_is_not_overwritten(real_product: InSql) -> None:
    shop = orders(1)
    shop.row(1, CUSTOMER, "old", 1_700_000_000)
    real_product.load(shop)
    with real_product.open() as database:
        filling = Filling(database=database)
        real_product.execute(
            f"UPDATE process_instance_metadata SET value = '{LIVE}', updated_at_in_seconds = 2000000000"
        )
        filling.fill([CUSTOMER], overwrite_before=filling.now)
    assert [row.value for row in real_product.rows().values()] == [LIVE]
