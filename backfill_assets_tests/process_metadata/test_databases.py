"""What holds on every database of the product, and on the twin: where values come from, and what is written."""

from datetime import timedelta
from typing import Any

import pytest

from backfill_assets.core.extraction import NOT_READABLE, NOT_STORABLE, NOT_THERE
from backfill_assets.core.metadata import MetadataField
from backfill_assets_tests.process_metadata.filling import NOW, Filling, in_month, months, total
from backfill_assets_tests.process_metadata.installations import CUSTOMER, DANGLING, MODEL, TOTAL, Shop, orders
from backfill_assets_tests.process_metadata.products import InSql, Product

FIELD = MetadataField(model=MODEL, key="k", path="a.b")
END = 1_700_000_000_000_000


def filled(
    product: Product, shop: Shop, field: MetadataField = FIELD, **options: Any
) -> tuple[Filling, dict[int, str]]:
    """Fill one field; return the values by instance."""
    product.load(shop)
    with product.open() as database:
        filling = Filling(database=database)
        filling.fill([field], **options)
    return filling, {place[0]: row.value for place, row in product.rows().items() if place[1] == field.key}


def test_the_task_that_ended_last_is_the_source_whichever_sub_process_it_belongs_to(product: Product) -> None:
    shop = Shop()
    instance = shop.instance()
    for value, ended_at in (("early", END), ("last", END + 2), ("late", END + 1)):
        shop.task(instance, {"a": {"b": value}}, ended_at=ended_at)
    assert filled(product, shop)[1] == {instance: "last"}


def test_a_completed_task_without_an_end_comes_after_every_one_that_has_one(product: Product) -> None:
    shop = Shop()
    instance = shop.order({"a": {"b": "ended"}}, ended_at=1)
    shop.task(instance, {"a": {"b": "a sub-process's start"}}, ended_at=None)
    only = shop.order({"a": {"b": "nothing else"}}, ended_at=None)
    assert filled(product, shop)[1] == {instance: "ended", only: "nothing else"}


def test_of_two_tasks_that_ended_together_the_smaller_guid_is_taken_in_bytes(product: Product) -> None:
    shop = Shop()
    instance = shop.instance()
    for guid in ("b0000000-0000-4000-8000-000000000000", "0f000000-0000-4000-8000-000000000000"):
        shop.task(instance, {"a": {"b": guid[:2]}}, guid=guid)
    assert filled(product, shop)[1] == {instance: "0f"}


@pytest.mark.parametrize("state", ["ERROR", "READY", "CANCELLED", "FUTURE", "STARTED"])
def test_a_task_that_is_not_completed_is_no_source(product: Product, state: str) -> None:
    shop = Shop()
    instance = shop.order({"a": {"b": "completed"}}, ended_at=1)
    shop.task(instance, {"a": {"b": "not"}}, state=state)
    shop.order({"a": {"b": "not"}}, state=state)
    assert filled(product, shop)[1] == {instance: "completed"}


def test_json_data_wins_over_python_env_data_key_by_key_and_also_with_a_null(product: Product) -> None:
    shop = Shop()
    env = {"a": {"b": "env"}}
    both, null = shop.order({"a": {"b": "json"}}, env=env), shop.order({"a": None}, env=env)
    shallow, only_env = shop.order({"a": {"c": 1}}, env=env), shop.order({"other": 1}, env=env)
    filling, values = filled(product, shop)
    assert values == {both: "json", only_env: "env"}
    assert null not in values
    assert shallow not in values
    assert filling.letters.letters() == []


def test_a_path_walks_dictionaries_only(product: Product) -> None:
    shop = Shop()
    in_the_way: list[Any] = [[1, 2], ["b"], [{"b": 1}], "b", "abc", 7, 0, True, None, {}]
    for a in in_the_way:
        shop.order({"a": a})
    for document in ("[1]", '"a"', "3", "null"):
        shop.order(document)
    filling, values = filled(product, shop)
    assert values == {}
    assert filling.letters.letters() == []


def test_an_instance_whose_document_is_missing_fails_and_costs_no_other(product: Product) -> None:
    shop = Shop()
    good, bad = shop.order({"a": {"b": 1}}), shop.order(json_data_hash=DANGLING)
    bad_env = shop.order({"a": {"b": 1}}, python_env_data_hash=DANGLING)
    filling, values = filled(product, shop)
    assert values == {good: "1"}
    letters = filling.letters.letters()
    assert [(letter.record_id, letter.reason) for letter in letters] == [
        (str(bad), NOT_THERE),
        (str(bad_env), NOT_THERE),
    ]


def test_the_empty_document_needs_no_row_of_its_own(product: Product) -> None:
    shop = Shop()
    shop.order()
    filling, values = filled(product, shop)
    assert (values, filling.letters.letters()) == ({}, [])


def test_a_nul_that_is_cut_off_or_lies_elsewhere_does_no_harm(product: Product) -> None:
    shop = Shop()
    elsewhere = shop.order('{"a": {"b": "fine"}, "c": "\\u0000"}')
    cut_off = shop.order({"a": {"b": "x" * 255 + "\0"}})
    bad = shop.order({"a": {"b": "x\0"}})
    good = shop.order({"a": {"b": "good"}})
    filling, values = filled(product, shop)
    assert values == {elsewhere: "fine", cut_off: "x" * 255, good: "good"}
    assert [(letter.record_id, letter.reason) for letter in filling.letters.letters()] == [(str(bad), NOT_STORABLE)]


# MariaDB takes no such document.
@pytest.mark.parametrize("product", ["memory", "sqlite", "postgres"], indirect=True)
def test_half_a_character_fails_its_own_instance_only(product: Product) -> None:
    shop = Shop()
    bad, good = shop.order('{"a": {"b": "\\ud83d"}}'), shop.order({"a": {"b": "good"}})
    filling, values = filled(product, shop)
    assert values == {good: "good"}
    assert [letter.record_id for letter in filling.letters.letters()] == [str(bad)]


def test_a_number_too_long_for_python_fails_its_own_instance_only(product: Product) -> None:
    shop = Shop()
    bad, good = shop.order('{"a": {"b": ' + "9" * 5000 + "}}"), shop.order({"a": {"b": "good"}})
    filling, values = filled(product, shop)
    assert values == {good: "good"}
    assert [(letter.record_id, letter.reason) for letter in filling.letters.letters()] == [(str(bad), NOT_READABLE)]


def test_both_moments_of_a_new_row_are_now(product: Product) -> None:
    shop = Shop()
    shop.order({"a": {"b": 1}})
    filled(product, shop)
    [row] = product.rows().values()
    assert (row.created_at, row.updated_at) == (int(NOW.timestamp()), int(NOW.timestamp()))


def test_a_row_that_is_there_stays_as_it_is(product: Product) -> None:
    shop = Shop()
    instance = shop.order({"a": {"b": "new"}})
    shop.row(instance, FIELD, "live", in_month(2))
    before = dict(shop.rows)
    filled(product, shop)
    assert product.rows() == before


def test_overwriting_rewrites_only_rows_that_differ_and_were_last_updated_before_the_moment(product: Product) -> None:
    shop = Shop()
    moment = NOW - timedelta(hours=1)
    old, same, live, without = (shop.order({"a": {"b": "new"}}) for _ in range(4))
    no_value = shop.order({})
    shop.row(old, FIELD, "old", int(moment.timestamp()) - 1)
    shop.row(same, FIELD, "new", in_month(2))
    shop.row(live, FIELD, "live", int(moment.timestamp()))
    shop.row(no_value, FIELD, "old", in_month(2))
    filling, values = filled(product, shop, overwrite_before=moment)
    assert values == {old: "new", same: "new", live: "live", without: "new", no_value: "old"}
    rows = product.rows()
    assert rows[old, "k"].updated_at == int(NOW.timestamp())
    assert rows[old, "k"].created_at == in_month(1)
    assert rows[same, "k"].updated_at == in_month(2)
    assert "Processed: 5, Updated: 2" in filling.lines[-1]


def test_the_first_month_holds_what_is_older_and_what_has_no_moment(product: Product) -> None:
    shop = Shop()
    ancient, unknown = (shop.order({"a": {"b": 1}}, created_at=moment) for moment in (1_000_000, None))
    january, march = (shop.order({"a": {"b": 1}}, created_at=in_month(month)) for month in (1, 3))
    edge = shop.order({"a": {"b": 1}}, created_at=int(months()[1].start.timestamp()))
    assert set(filled(product, shop, windows=months(1, 1))[1]) == {ancient, unknown, january}
    with product.open() as database:
        Filling(database=database).fill([FIELD], months(2, 2))
    assert {place[0] for place in product.rows()} == {ancient, unknown, january, edge}
    with product.open() as database:
        Filling(database=database).fill([FIELD], months(3, 4))
    assert march in {place[0] for place in product.rows()}


def test_a_repeat_writes_nothing_and_says_so(product: Product) -> None:
    product.load(orders(20))
    with product.open() as database:
        filling = Filling(database=database)
        first = filling.fill([CUSTOMER, TOTAL])
        before = product.rows()
        filling.now += timedelta(days=1)
        again = filling.fill([CUSTOMER, TOTAL])
    assert product.rows() == before
    assert (total(first).updated, total(first).unchanged) == (40, 0)
    assert (total(again).updated, total(again).unchanged) == (0, 40)


def test_a_repeat_uses_up_no_ids_of_the_product(real_product: InSql) -> None:
    real_product.load(orders(20))
    with real_product.open() as database:
        for _ in range(3):
            Filling(database=database).fill([CUSTOMER])
    shop_grows = "INSERT INTO {table} ({columns}) VALUES (20, 'live', 'v', 1, 1)"
    quote = "`" if "mysql" in real_product.url else '"'
    columns = f"process_instance_id, {quote}key{quote}, value, updated_at_in_seconds, created_at_in_seconds"
    real_product.execute(shop_grows.format(table="process_instance_metadata", columns=columns))
    assert real_product.highest_id() == 21


def test_a_month_counts_anew_what_is_there_afterwards(product: Product) -> None:
    shop = orders(5)
    shop.order(json_data_hash=DANGLING)
    shop.order({"total": 5})
    product.load(shop)
    with product.open() as database:
        filling = Filling(database=database)
        [march] = filling.fill([CUSTOMER], months(3, 3))
        assert (march.source_rows, march.rows, march.complete) == (5, 5, False)
        [march] = filling.recount([TOTAL], months(3, 3))
        assert (march.source_rows, march.rows, march.complete) == (6, 0, False)
    assert len(product.rows()) == 5


def test_a_month_that_was_only_begun_is_not_complete(product: Product) -> None:
    product.load(orders(5))
    with product.open() as database:
        filling = Filling(database=database)
        [march] = filling.fill([CUSTOMER], months(3, 3), most_instances=3)
        assert (march.source_rows, march.rows, march.complete) == (5, 3, False)
        [march] = filling.fill([CUSTOMER], months(3, 3))
        assert (march.source_rows, march.rows, march.complete) == (5, 5, True)
