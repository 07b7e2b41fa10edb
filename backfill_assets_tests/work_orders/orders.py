"""Work orders as tests make them: a source with every peculiarity, and what of it must be stored and refused.

Here belongs the truth, told apart from the code under test.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pyarrow as pa

from backfill_assets.core.source import Grain
from backfill_assets.core.windows import Calendar, Window

CALENDAR = Calendar(grain=Grain.MONTHLY, history_start=date(2024, 1, 1))
NOW = datetime(2024, 5, 15, 12, tzinfo=UTC)
Row = dict[str, Any]
THEIRS = {"id": "notification_id", "text": "notification_text", "date": "created_at"}


def months(number: int = 3) -> list[Window]:
    """The first months of 2024."""
    return [CALENDAR.window(date(2024, month, 1)) for month in range(1, number + 1)]


def row(record_id: str | None, at: datetime | None, text: str | None = "The pump of unit 7 leaks oil") -> Row:
    """A record by our names."""
    return {"notification_id": record_id, "notification_date": at, "notification_text": text}


def peculiar(seed: int, number: int) -> list[Row]:
    """Records of three months: equal moments, no dates, no ids, short texts, the same id twice, quotes and NULs."""
    random = Random(seed)
    rows: list[Row] = []
    for place in range(number):
        at: datetime | None = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=random.randrange(24 * 90))
        text: str | None = f'Line {place}: pump "{random.randrange(999)}"\nleaks, 泵漏油 \\. \t {random.random()}'
        record_id: str | None = f"WO-{place:06}"
        match random.randrange(40):
            case 0:
                at = None
            case 1:
                text = random.choice([None, "", "   short  "])
            case 2:
                record_id = random.choice([None, ""])
            case 3 if rows:
                record_id = rows[-1]["notification_id"]
            case 4 if rows:
                rows.append(dict(rows[-1]))
            case 5:
                text = f"NUL \0 in {place} of the text"
            case 6:
                at = datetime(1999, 5, 5, tzinfo=UTC)
        rows.append(row(record_id, at, text))
    random.shuffle(rows)
    return rows


def stored(rows: Sequence[Row]) -> dict[str, tuple[datetime, str]]:
    """What must be stored, by id."""
    newest: dict[str, Row] = {}
    for one in rows:
        if one["notification_id"] and one["notification_date"]:
            key = (one["notification_date"], one["notification_text"] or "")
            held = newest.get(one["notification_id"])
            if held is None or key > (held["notification_date"], held["notification_text"] or ""):
                newest[one["notification_id"]] = one
    return {
        record_id: (one["notification_date"], one["notification_text"].replace("\0", "\ufffd"))
        for record_id, one in newest.items()
        if len((one["notification_text"] or "").strip()) >= 10
    }


def ids(rows: Sequence[Row]) -> Counter[str]:
    """How often each id comes."""
    return Counter(one["notification_id"] or "" for one in rows)


def theirs(rows: Sequence[Row]) -> pa.Table:
    """The records as a table of the source, by its names."""
    schema = pa.schema(
        [("notification_id", pa.string()), ("created_at", pa.timestamp("us")), ("notification_text", pa.string())]
    )
    plain = [
        {
            "notification_id": one["notification_id"],
            "notification_text": one["notification_text"],
            "created_at": one["notification_date"].replace(tzinfo=None) if one["notification_date"] else None,
        }
        for one in rows
    ]
    return pa.Table.from_pylist(plain, schema=schema)
