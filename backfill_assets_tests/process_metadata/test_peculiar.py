"""Everything peculiar that an installation may hold gives the same rows on every database, and the right ones."""

import pytest

from backfill_assets.core.metadata import MetadataField
from backfill_assets.sandbox.spiffworkflow.peculiar import MODEL, OTHER_MODEL, fields, installation
from backfill_assets.sandbox.spiffworkflow.truth import expected, failing
from backfill_assets_tests.process_metadata.filling import Filling, total
from backfill_assets_tests.process_metadata.products import InSql, Product

FEW = 4
"""So few fields that PostgreSQL walks the documents itself."""


def texts(product: Product) -> dict[tuple[int, str], str]:
    return {place: row.value for place, row in product.rows().items()}


@pytest.mark.parametrize("seed", range(2))
def test_every_database_gets_the_rows_that_plain_python_works_out(product: Product, seed: int) -> None:
    asked = fields()
    held = installation(seed)
    owed, failed = expected(held, asked), failing(held, asked)
    assert len(owed) > 500
    assert len(failed) > 10
    product.load(held)
    with product.open() as database:
        filling = Filling(database=database, batch_size=30)
        done = [one for start in range(0, len(asked), FEW) for one in filling.fill(asked[start : start + FEW])]
    assert texts(product) == owed
    assert {(int(letter.record_id), letter.table) for letter in filling.letters.letters()} == failed
    counts = total(done)
    instances = sum(instance.model == MODEL for instance in held.instances)
    assert counts.processed == instances * len(asked)
    assert counts.updated == len(owed)
    assert counts.failed == len(failed)
    assert counts.missing == counts.processed - len(owed) - len(failed)
    assert counts.unchanged == 0
    assert sum(one.rows for one in done) == len(owed)
    assert {one.complete for one in done if not one.counts.failed} == {True}
    assert {one.complete for one in done if one.counts.failed} == {False}


def test_two_hundred_fields_at_once_get_the_same_rows_as_a_few_at_a_time(product: Product) -> None:
    asked, held = fields(200), installation(7)
    product.load(held)
    with product.open() as database:
        done = Filling(database=database, batch_size=1000).fill(asked)
    assert texts(product) == expected(held, asked)
    assert len(done) == 200 * 8


def test_an_overwritten_field_is_as_right_as_a_new_one(product: Product) -> None:
    held, [old, new] = installation(3), [MetadataField(model=MODEL, key="k", path=path) for path in ("flat", "a,b")]
    product.load(held)
    with product.open() as database:
        filling = Filling(database=database)
        filling.fill([old])
        filling.now = filling.now.replace(day=16)
        filling.fill([new], overwrite_before=filling.now)
    assert texts(product) == {**expected(held, [old]), **expected(held, [new])}


def test_no_other_model_is_touched(real_product: InSql) -> None:
    real_product.load(installation(5))
    with real_product.open() as database:
        Filling(database=database).fill(fields(3, model=OTHER_MODEL))
    assert texts(real_product) == expected(installation(5), fields(3, model=OTHER_MODEL))
