"""Partitions of process metadata: the month in which an instance was created x the field.

Here belong the definitions and the translation between keys and what they stand for.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime

import dagster as dg

from backfill_assets.core.keys import decode_key, encode_key
from backfill_assets.core.metadata import MetadataField
from backfill_assets.core.source import Grain
from backfill_assets.core.windows import Calendar, Window

CREATED, FIELD = "created", "field"
FIELDS = dg.DynamicPartitionsDefinition(name="metadata_fields")

KEY = dg.AssetKey(["process_metadata", "process_instance_metadata"])
MODELS_KEY = dg.AssetKey(["process_metadata", "process_models"])

PARTITIONS_PER_RUN = 60
"""A run's start costs seconds, so it covers five years of a field, or this many fields of a month."""


def calendar_of(start: date) -> Calendar:
    """The months from this day on; what is older counts into the first."""
    return Calendar(grain=Grain.MONTHLY, history_start=start)


def months_until(start: date, now: datetime) -> list[Window]:
    """Every month, the one that holds now included."""
    calendar = calendar_of(start)
    return calendar.windows(
        calendar.window(calendar.first_day).start, max(now, calendar.window(calendar.first_day).end)
    )


def months_by_fields(start: date) -> dg.MultiPartitionsDefinition:
    """Months x fields, this month included."""
    months = dg.MonthlyPartitionsDefinition(start_date=calendar_of(start).first_day.isoformat(), end_offset=1)
    return dg.MultiPartitionsDefinition({CREATED: months, FIELD: FIELDS})


def field_key(field: MetadataField) -> str:
    """The field in the dynamic set."""
    return encode_key(field.name)


def partition_key(month: Window, field_name: str) -> dg.MultiPartitionKey:
    """The key of a month of the field with this name (`<model>:<key>`)."""
    return dg.MultiPartitionKey({CREATED: month.key, FIELD: encode_key(field_name)})


def taken_apart(key: str) -> tuple[str, str, str]:
    """Month, model and key of a partition."""
    # Taken apart as text: a key that Dagster has read from its storage knows nothing of dimensions any more.
    month, _, name = key.partition("|")
    model, _, field = decode_key(name).partition(":")
    return month, model, field


def by_model(start: date, keys: Iterable[str]) -> Mapping[str, Sequence[tuple[Sequence[Window], Sequence[str]]]]:
    """What is asked for of each model: months, oldest first, and the keys that are asked for in all of them.

    Keys of the same months are kept together, so that instances are read once for all of them.
    """
    calendar = calendar_of(start)
    months: dict[tuple[str, str], list[Window]] = {}
    for key in keys:
        month, model, field = taken_apart(key)
        months.setdefault((model, field), []).append(calendar.window_from_key(month))
    passes: dict[str, dict[tuple[Window, ...], list[str]]] = {}
    for (model, field), asked in months.items():
        passes.setdefault(model, {}).setdefault(tuple(sorted(asked)), []).append(field)
    return {model: list(found.items()) for model, found in passes.items()}
