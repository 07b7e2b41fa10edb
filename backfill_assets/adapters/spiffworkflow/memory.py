"""The product's database in memory: the twin of `SqlInstances`, for tests and dry runs.

Here belongs what an installation holds, as plain values, and reading and writing them by the same rules.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Self

from backfill_assets.core.extraction import EMPTY_HASH, NOT_READABLE, NOT_THERE, find_all, merged, segments
from backfill_assets.core.instances import Part, Reading, Span, Standing, Texts
from backfill_assets.core.metadata import MetadataField
from backfill_assets.core.windows import Window


@dataclass(frozen=True, kw_only=True)
class Instance:
    """A process instance; `created_at` in seconds, or None where the product kept none."""

    id: int
    model: str
    created_at: int | None
    status: str = "complete"


@dataclass(frozen=True, kw_only=True)
class Task:
    """A task of an instance; the hashes name documents, `ended_at` is in microseconds."""

    guid: str
    instance_id: int
    state: str
    json_data_hash: str = EMPTY_HASH
    python_env_data_hash: str = EMPTY_HASH
    ended_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class MetadataRow:
    """A row of the metadata table; moments in seconds."""

    instance_id: int
    key: str
    value: str
    updated_at: int
    created_at: int


@dataclass(kw_only=True)
class Installation:
    """All that a database of the product holds for us; `documents` are JSON texts by hash."""

    instances: list[Instance] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    documents: dict[str, str] = field(default_factory=dict)
    rows: dict[tuple[int, str], MetadataRow] = field(default_factory=dict)


class MemoryInstances:
    """An `InstanceDatabase` over an installation in memory."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation

    def spans(self, model: str, months: Sequence[Window]) -> Sequence[Span]:
        """See `InstanceDatabase.spans`."""
        ids = [[i.id for i in self.installation.instances if i.model == model and _is_in(i, m)] for m in months]
        return [
            Span(
                part=Part(model=model, month=month, after=min(of, default=1) - 1, upto=max(of, default=1)),
                instances=len(of),
            )
            for month, of in zip(months, ids, strict=True)
        ]

    @property
    def batches_at_once(self) -> int:
        """See `InstanceDatabase.batches_at_once`."""
        return 1

    def cut(self, part: Part, limit: int) -> Span | None:
        """See `InstanceDatabase.cut`."""
        first = self._ids(part)[:limit]
        return Span(part=replace(part, upto=first[-1]), instances=len(first)) if first else None

    @contextmanager
    def begin(self) -> Iterator[Self]:
        """See `InstanceDatabase.begin`."""
        before = dict(self.installation.rows)
        try:
            yield self
        except BaseException:
            self.installation.rows = before
            raise

    def read(self, part: Part, fields: Sequence[MetadataField]) -> Sequence[Reading]:
        """See `InstanceWork.read`."""
        sources = self._sources()
        return [self._reading(instance, sources.get(instance), fields) for instance in self._ids(part)]

    def write(
        self, part: Part, rows: Mapping[str, Texts], *, at: datetime, rewrite_before: datetime | None
    ) -> Mapping[str, int]:
        """See `InstanceWork.write`."""
        before = None if rewrite_before is None else int(rewrite_before.timestamp())
        return {
            key: sum(self._write(instance, key, text, round(at.timestamp()), before) for instance, text in texts)
            for key, texts in rows.items()
        }

    def standings(self, part: Part, fields: Sequence[MetadataField]) -> Sequence[Standing]:
        """See `InstanceDatabase.standings`."""
        readings = self.read(part, fields)
        return [self._standing(readings, number, field.key) for number, field in enumerate(fields)]

    def check(self) -> None:
        """See `InstanceDatabase.check`."""

    def close(self) -> None:
        """See `InstanceDatabase.close`."""

    def _ids(self, part: Part) -> Sequence[int]:
        chosen = (i for i in self.installation.instances if i.model == part.model and part.after < i.id <= part.upto)
        return sorted(i.id for i in chosen if part.month is None or _is_in(i, part.month))

    def _sources(self) -> Mapping[int, Task]:
        """The task of each instance that its values come from: the last one in this order."""
        completed = (task for task in self.installation.tasks if task.state == "COMPLETED")
        by_guid = sorted(completed, key=lambda task: task.guid, reverse=True)
        ordered = sorted(by_guid, key=lambda task: (task.ended_at is not None, task.ended_at or 0))
        return {task.instance_id: task for task in ordered}

    def _reading(self, instance: int, task: Task | None, fields: Sequence[MetadataField]) -> Reading:
        nothing = Reading(instance_id=instance, values=[None] * len(fields))
        if task is None:
            return nothing
        held = {EMPTY_HASH: "{}", **self.installation.documents}
        if task.json_data_hash not in held or task.python_env_data_hash not in held:
            return Reading(instance_id=instance, values=nothing.values, problem=NOT_THERE)
        paths = [segments(field.path) for field in fields]
        walked = [find_all(held[name], paths) for name in (task.json_data_hash, task.python_env_data_hash)]
        if walked[0] is None or walked[1] is None:
            return Reading(instance_id=instance, values=nothing.values, problem=NOT_READABLE)
        return Reading(instance_id=instance, values=list(map(merged, walked[0], walked[1])))

    def _write(self, instance: int, key: str, text: str, now: int, before: int | None) -> bool:
        kept = self.installation.rows.get((instance, key))
        if kept and (before is None or kept.updated_at >= before or kept.value == text):
            return False
        created = kept.created_at if kept else now
        row = MetadataRow(instance_id=instance, key=key, value=text, updated_at=now, created_at=created)
        self.installation.rows[instance, key] = row
        return True

    def _standing(self, readings: Sequence[Reading], number: int, key: str) -> Standing:
        without = [reading for reading in readings if (reading.instance_id, key) not in self.installation.rows]
        rows = len(readings) - len(without)
        return Standing(
            held=rows + sum(reading.values[number] is not None for reading in without),
            rows=rows,
            unreadable=sum(bool(reading.problem) for reading in without),
        )


def _is_in(instance: Instance, month: Window) -> bool:
    if instance.created_at is None:
        return month.is_first
    return (month.is_first or instance.created_at >= month.start.timestamp()) and (
        instance.created_at < month.end.timestamp()
    )
