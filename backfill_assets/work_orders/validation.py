"""What a record must have to be stored, decided for a whole batch at once.

Here belongs the decision, without reading or writing anything.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from backfill_assets.core.orders import (
    DATE,
    ID,
    TEXT,
    Position,
    text_hash,
)
from backfill_assets.core.windows import BEGINNING
from backfill_assets.work_orders.letters import Refused

if TYPE_CHECKING:
    import pyarrow as pa

SHORTEST_TEXT = 10
"""Characters, without blanks around them."""

NUL, REPLACEMENT = "\0", "\ufffd"
"""PostgreSQL keeps no NUL: in a text another character stands for it."""

NO_ID, NO_DATE, SHORT, REPEATED = "no id", "no date", "text too short", "repeated id"


@dataclass(frozen=True, kw_only=True)
class Sorted:
    """A batch sorted out: the records to store, and those refused."""

    records: "pa.Table"
    refused: Sequence[Refused]


def sort_out(records: "pa.Table", duplicates: Mapping[str, datetime | None]) -> Sorted:
    """Sort out a batch; it must hold all records of each of its positions.

    Of records with the same id the newest counts; of those with the same date as well, the one whose text comes last.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    ids, texts = pc.fill_null(records[ID], ""), pc.fill_null(records[TEXT], "")
    length = pc.utf8_length(pc.utf8_trim_whitespace(texts))
    doubtful = pc.or_(pc.equal(ids, ""), pc.less(length, SHORTEST_TEXT))
    doubtful = pc.or_(doubtful, pc.or_(pc.is_null(records[DATE]), pc.match_substring(ids, NUL)))
    if duplicates:
        doubtful = pc.or_(doubtful, pc.is_in(ids, value_set=pa.array(list(duplicates), pa.string())))
    if not pc.any(doubtful).as_py():
        return Sorted(records=_storable(records), refused=())
    looked_at = records.append_column("row", pa.array(range(records.num_rows))).filter(doubtful).to_pylist()
    reasons = dict(_reasons(looked_at, duplicates))
    kept = pa.array([row not in reasons for row in range(records.num_rows)])
    return Sorted(
        records=_storable(records.filter(kept)),
        refused=_told_apart([_refused(row, *reasons[row["row"]]) for row in looked_at if row["row"] in reasons]),
    )


def _reasons(
    rows: Sequence[Mapping[str, Any]], duplicates: Mapping[str, datetime | None]
) -> Iterator[tuple[int, tuple[str, str]]]:
    """Row number, kind and reason of those that are refused."""
    last = {(row[ID], row[DATE]): row["row"] for row in sorted(rows, key=lambda row: (row[TEXT] or "", row["row"]))}
    for row in rows:
        length = len((row[TEXT] or "").strip())
        if not row[ID] or NUL in row[ID]:
            yield row["row"], (NO_ID, "the record has no id by which it could be kept")
        elif row[DATE] is None:
            yield row["row"], (NO_DATE, "the record has no date, so it belongs to no month")
        elif length < SHORTEST_TEXT:
            yield row["row"], (SHORT, f"its text has {length} characters; {SHORTEST_TEXT} are needed")
        elif (newest := duplicates.get(row[ID])) is not None and row[DATE] < newest:
            yield row["row"], (REPEATED, f"the source holds a newer record with this id, of {newest.isoformat()}")
        elif last[row[ID], row[DATE]] != row["row"]:
            yield row["row"], (REPEATED, "the source holds another record with this id and date")


def _refused(row: Mapping[str, Any], kind: str, reason: str) -> Refused:
    position = Position(at=row[DATE] or BEGINNING, id=(row[ID] or "").replace(NUL, REPLACEMENT))
    dated = row[DATE].isoformat() if row[DATE] else "undated"
    return Refused(position=position, version=f"{dated} {text_hash(row[TEXT] or '')[:16]}", kind=kind, reason=reason)


def _told_apart(refused: Sequence[Refused]) -> Sequence[Refused]:
    """Records that are the same in everything get numbers, so that each has its letter."""
    seen: dict[tuple[str, str], int] = {}
    told = []
    for one in refused:
        key = (one.position.id, one.version)
        seen[key] = seen.get(key, 0) + 1
        version = one.version if seen[key] == 1 else f"{one.version} #{seen[key]}"
        told.append(Refused(position=one.position, version=version, kind=one.kind, reason=one.reason))
    return told


def _storable(records: "pa.Table") -> "pa.Table":
    import pyarrow as pa
    import pyarrow.compute as pc

    for place, column in enumerate(records.schema):
        if pa.types.is_string(column.type) and pc.any(pc.match_substring(records[column.name], NUL)).as_py():
            cleaned = pc.replace_substring(records[column.name], NUL, REPLACEMENT)
            records = records.set_column(place, column, cleaned)
    return records
