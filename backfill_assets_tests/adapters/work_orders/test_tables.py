"""One suite for the tables of work orders, in PostgreSQL and in memory."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest

from backfill_assets.adapters.work_orders.memory import MemoryOrders
from backfill_assets.adapters.work_orders.opening import open_orders
from backfill_assets.adapters.work_orders.schema import initialise
from backfill_assets.core.enriched import (
    InsightVersion,
    OrderTarget,
    StoredInsight,
    StoredVector,
    VectorVersion,
)
from backfill_assets.core.enrichment import Extraction, Insight, Origin
from backfill_assets.core.orders import (
    Checkpoint,
    Position,
    order_schema,
    standing_of,
    whole,
)
from backfill_assets.core.source import Grain
from backfill_assets.core.windows import Calendar
from backfill_assets.errors import BackfillError, ConfigurationError, SourceUnreachable

SPAN = whole(Calendar(grain=Grain.MONTHLY, history_start=date(2024, 1, 1)).window(date(2024, 2, 1)))
AT = datetime(2024, 2, 3, tzinfo=UTC)
INSIGHTS = InsightVersion(model="m", prompt="1")
VECTORS = VectorVersion(model="v", dimensions=3)


@pytest.fixture(params=["memory", "postgres"])
def target(request: pytest.FixtureRequest) -> Iterator[OrderTarget]:
    """Empty tables."""
    if request.param == "memory":
        yield MemoryOrders(dimensions=3)
        return
    url = request.getfixturevalue("database_url")
    assert initialise(url, dimensions=3) == ["0001"]
    assert initialise(url, dimensions=3) == []
    with open_orders(url) as opened:
        yield opened


def store(target: OrderTarget, *records: tuple[str, str]) -> None:
    rows = [
        {"notification_id": name, "notification_date": AT + timedelta(minutes=n), "notification_text": text}
        for n, (name, text) in enumerate(records)
    ]
    with target.begin() as work:
        work.store(pa.Table.from_pylist(rows, schema=order_schema()))


def put_insights(target: OrderTarget, prompt: str = "1") -> None:
    insight = Insight(
        component='pump "7"', fault="泵漏油", cause="a\nb\t\\", resolution_steps=("s\0",), summary="", confidence=0.5
    )
    made = Extraction(insight=insight, origin=Origin(method="test", model_version="m", prompt_version=prompt))
    with target.begin() as work:
        orders = target.behind(SPAN, InsightVersion(model="m", prompt=prompt), None, 100)
        work.put_insights([StoredInsight(order=one, extraction=made, at=AT) for one in orders])


def test_what_is_stored_is_counted_and_behind(target: OrderTarget) -> None:
    store(target, ("b", "text b"), ("a", 'text "a", \\. \n泵'))
    assert target.standing(SPAN) == standing_of(iter(["a", "b"]))
    found = target.behind(SPAN, INSIGHTS, None, 10)
    assert [(one.id, one.text) for one in found] == [("b", "text b"), ("a", 'text "a", \\. \n泵')]
    assert [one.id for one in target.behind(SPAN, VECTORS, found[0].position, 10)] == ["a"]
    assert [one.id for one in target.orders(["a", "c"])] == ["a"]


def test_an_insight_is_up_to_date_until_its_text_or_version_changes(target: OrderTarget) -> None:
    store(target, ("a", "text a"), ("b", "text b"))
    put_insights(target)
    assert target.count_behind(SPAN, INSIGHTS) == 0
    assert target.qualities(SPAN, INSIGHTS).tenths[3] == 2
    assert target.qualities(SPAN, INSIGHTS).flagged == 2
    store(target, ("a", "another text"), ("b", "text b"))
    assert [one.id for one in target.behind(SPAN, INSIGHTS, None, 10)] == ["a"]
    assert target.count_behind(SPAN, InsightVersion(model="m", prompt="2")) == 2


def test_the_nearest_come_first_with_what_is_known_of_them(target: OrderTarget) -> None:
    store(target, ("a", "text a"), ("b", "text b"))
    put_insights(target)
    a, b = target.behind(SPAN, VECTORS, None, 10)
    with target.begin() as work:
        work.put_scrubbed("1", {a.text_hash: "scrubbed a"})
        values = ((a, [1.0, 0.0, 0.1]), (b, [0.0, 1.0, 0.0]))
        work.put_vectors([StoredVector(order=o, version=VECTORS, values=v, method="test", at=AT) for o, v in values])
    target.index_vectors()
    target.index_vectors()
    first, second = target.nearest([1.0, 0.0, 0.0], VECTORS, 5)
    assert (first.id, first.text, first.insight["fault"]) == ("a", "scrubbed a", "泵漏油")
    assert (second.id, second.text) == ("b", None)
    assert first.similarity == pytest.approx(0.995, abs=0.001)
    assert target.scrubbed("2", [a.text_hash]) == {}


def test_a_checkpoint_is_committed_with_its_batch_or_not_at_all(target: OrderTarget) -> None:
    reached = Checkpoint(name="x", cursor=Position(at=AT, id="a b"), is_open=True, records=7, seconds=1.5)
    with target.begin() as work:
        work.put_checkpoint(reached)
    assert target.checkpoint("x") == reached

    def fails() -> None:
        with target.begin() as work:
            work.put_checkpoint(Checkpoint(name="x"))
            raise SourceUnreachable("away")

    with pytest.raises(BackfillError):
        fails()
    assert target.checkpoint("x") == reached


def test_other_dimensions_are_refused(database_url: str) -> None:
    initialise(database_url, dimensions=3)
    with pytest.raises(ConfigurationError, match="have 3 dimensions, and BACKFILL_AI_EMBEDDING_DIMENSIONS is 4"):
        initialise(database_url, dimensions=4)


def test_a_database_without_tables_says_what_to_run(database_url: str) -> None:
    with pytest.raises(ConfigurationError, match="run `backfill init`"), open_orders(database_url):
        pass


def test_a_database_that_is_away_is_a_sentence_without_its_password() -> None:
    url = "postgresql+psycopg2://me:hidden@127.0.0.1:1/orders"
    with pytest.raises(BackfillError, match="Check BACKFILL_WORK_ORDERS_DATABASE_URL") as refused, open_orders(url):
        pass
    assert "hidden" not in str(refused.value)
