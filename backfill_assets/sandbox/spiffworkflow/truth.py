"""What the metadata of an installation ought to be, worked out the long way round.

Here belongs plain Python over plain values, apart from the code that it judges: no rule is imported from there.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from backfill_assets.adapters.spiffworkflow.memory import Installation, Task
from backfill_assets.core.metadata import MetadataField

DANGLING = "dangling"


def expected(installation: Installation, fields: Iterable[MetadataField]) -> Mapping[tuple[int, str], str]:
    """The text of each row that a backfill of these fields owes, by instance and key."""
    owed = {}
    asked = list(fields)
    for instance in installation.instances:
        data = _data(installation, instance.id)
        for field in asked:
            if field.model == instance.model and isinstance(data, dict):
                text = _text(data, field.path)
                if text is not None and not _is_unstorable(text):
                    owed[instance.id, field.key] = text
    return owed


def failing(installation: Installation, fields: Iterable[MetadataField]) -> set[tuple[int, str]]:
    """The instances and keys that cannot be done: a document that is missing, a text that no column takes."""
    asked = list(fields)
    failed = set()
    for instance in installation.instances:
        data = _data(installation, instance.id)
        for field in asked:
            if field.model != instance.model:
                continue
            text = _text(data, field.path) if isinstance(data, dict) else None
            if data == DANGLING or (text is not None and _is_unstorable(text)):
                failed.add((instance.id, field.key))
    return failed


def _data(installation: Installation, instance: int) -> Any:
    task = _last(task for task in installation.tasks if task.instance_id == instance and task.state == "COMPLETED")
    if task is None:
        return {}
    data: dict[str, Any] = {}
    for name in (task.python_env_data_hash, task.json_data_hash):
        text = installation.documents.get(name, "{}" if name.startswith("44136fa355b3678a") else None)
        if text is None:
            return DANGLING
        document = json.loads(text)
        if isinstance(document, dict):
            data.update(document)
    return data


def _last(tasks: Iterable[Task]) -> Task | None:
    last = None
    for task in tasks:
        if last is None or _is_later(task, last):
            last = task
    return last


def _is_later(task: Task, other: Task) -> bool:
    if task.ended_at is None or other.ended_at is None:
        if (task.ended_at is None) == (other.ended_at is None):
            return task.guid < other.guid
        return other.ended_at is None
    if task.ended_at == other.ended_at:
        return task.guid < other.guid
    return task.ended_at > other.ended_at


def _text(data: Any, path: str) -> str | None:
    for key in path.split("."):
        data = data.get(key) if isinstance(data, dict) else None
    return None if data is None else str(data)[:255]


def _is_unstorable(text: str) -> bool:
    return any(character == "\0" or 0xD800 <= ord(character) <= 0xDFFF for character in text)
