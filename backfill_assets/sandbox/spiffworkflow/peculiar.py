"""A seeded installation that holds everything peculiar that a real one may hold.

Here belongs what is drawn: instances over months, tasks of every state and order, and documents whose values, keys
and shapes differ. What ought to become of them belongs to `truth.py`.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from random import Random
from typing import Any
from uuid import UUID

from backfill_assets.adapters.spiffworkflow.memory import Installation, Instance, Task
from backfill_assets.core.extraction import EMPTY_HASH
from backfill_assets.core.metadata import MetadataField

MODEL, OTHER_MODEL = "orders/invoice", "orders/invoice-archive"
FIRST_MONTH = datetime(2024, 1, 1, tzinfo=UTC)
SECONDS = 6 * 30 * 86400
"""How long instances have been created."""

STATES = ("COMPLETED",) * 6 + ("FUTURE", "READY", "ERROR", "CANCELLED", "WAITING", "STARTED")
STATUSES = ("complete", "error", "not_started", "running", "suspended", "terminated", "user_input_required", "waiting")

LEAVES: Sequence[str] = (
    *('"plain"', '""', '" spaces "', '"null"', '"123"', "null", "true", "false", "0", "-0", "1", "-17"),
    *("123456789012345678901234567890", "1.0", "-0.0", "0.1", "1e22", "1E-7", "1e400", "3.141592653589793238"),
    *("[]", "{}", "[1, 2, 3]", '["a", null, true]', '{"inner": "deep", "list": [1.50]}', '{"b": 1, "a": {"c": null}}'),
    *('"it\'s \\"quoted\\" \\\\ % %s :name"', '"two\\nlines\\tand a tab"', '"\\u00e9\\u4e2d\\ud83d\\ude00"', '"é中😀"'),
    *(json.dumps("x" * length) for length in (254, 255, 256, 3000)),
    *(json.dumps("é" * length + "😀😀", ensure_ascii=length % 2 == 0) for length in (252, 253, 254, 255)),
    json.dumps(list(range(200))),
)
UNSTORABLE = ('"a\\u0000b"', json.dumps("y" * 300 + "\0"))
"""Only the first: what is cut off does no harm. Half a character is not among them: MariaDB takes no such document."""

PATHS: Sequence[str] = (
    *("customer.id", "customer.name", "customer", "invoice.total", "invoice.lines", "invoice.lines.0", "flat"),
    *("flat.length", "a,b", "a,b.c[0]", "key.with.dots", "", ".", "null", "umlaut-ä.😀", "env_only", "env_only.deep"),
    *(
        "invoice.customer.id",
        "customer.id.more",
        "'; DROP TABLE task; --",
        "100%",
        "%(x)s",
        ":name",
        "very.deep.in.here",
    ),
)


def fields(number: int = len(PATHS), *, model: str = MODEL) -> Sequence[MetadataField]:
    """So many fields of the model, with keys as people write them."""
    return [
        MetadataField(
            model=model, key=f"{place:03}, {PATHS[place % len(PATHS)]}."[:255], path=PATHS[place % len(PATHS)]
        )
        for place in range(number)
    ]


def installation(seed: int, *, instances: int = 300) -> Installation:
    """An installation of two models."""
    draw = Random(seed)
    documents = {sha256(text.encode()).hexdigest(): text for text in islice(_documents(draw), 120)}
    names = [*documents, EMPTY_HASH]
    made = [_instance(draw, number) for number in range(1, instances + 1)]
    tasks = [task for one in made for task in _tasks(draw, one, names)]
    return Installation(instances=made, tasks=tasks, documents={**documents, EMPTY_HASH: "{}"})


def _instance(draw: Random, number: int) -> Instance:
    created = int(FIRST_MONTH.timestamp()) + draw.randrange(SECONDS)
    if draw.random() < 0.05:
        created -= SECONDS * 4
    return Instance(
        id=number * 3,
        model=draw.choice([MODEL, MODEL, MODEL, OTHER_MODEL]),
        created_at=None if draw.random() < 0.03 else created,
        status=draw.choice(STATUSES),
    )


def _tasks(draw: Random, instance: Instance, names: Sequence[str]) -> Sequence[Task]:
    """None of an instance that never ran; ends are few enough for ties, and a sub-process's start has none."""
    began = 1_700_000_000_000_000 + instance.id
    ends = [began + draw.choice([0, 1, 100, 1_000_000]) for _ in range(4)]
    return [
        Task(
            guid=str(UUID(int=draw.getrandbits(128))),
            instance_id=instance.id,
            state=draw.choice(STATES),
            json_data_hash=_name(draw, names, dangling=0.03),
            python_env_data_hash=_name(draw, names, dangling=0.01) if draw.random() < 0.4 else EMPTY_HASH,
            ended_at=None if draw.random() < 0.25 else draw.choice(ends),
        )
        for _ in range(draw.randrange(13))
    ]


def _name(draw: Random, names: Sequence[str], *, dangling: float) -> str:
    return "f" * 64 if draw.random() < dangling else draw.choice(names)


def _documents(draw: Random) -> Any:
    """JSON texts, most of them dictionaries."""
    yield from ("[1, 2]", '"customer"', "7", "null", "true", '{"flat": 1, "flat": "the later one"}')
    yield from (f'{{"flat": {leaf}, "other": 1}}' for leaf in UNSTORABLE)
    yield '{"flat": "fits", "elsewhere": "\\u0000", "customer": {"id": "fits too"}}'
    yield '{"customer": null, "invoice": {"customer": null}}'
    while True:
        yield _document(draw)


def _document(draw: Random) -> str:
    lines = {"customer": ("id", "name"), "invoice": ("total", "lines", "customer"), "a,b": ("c[0]",)}
    lines |= {"umlaut-ä": ("😀",), "env_only": ("deep",), "very": ("deep",), "": ("",), "key": ("with",)}
    parts = [f"{json.dumps(name)}: {_below(draw, keys)}" for name, keys in lines.items() if draw.random() < 0.6]
    flat = ("flat", "null", "100%", "%(x)s", ":name", "'; DROP TABLE task; --", "key.with.dots")
    parts += [f"{json.dumps(name)}: {draw.choice(LEAVES)}" for name in flat if draw.random() < 0.6]
    return "{" + ", ".join(parts) + "}"


def _below(draw: Random, keys: Sequence[str]) -> str:
    """A dictionary, or what is in its place."""
    if draw.random() < 0.25:
        return draw.choice(LEAVES)
    parts = [
        f"{json.dumps(key, ensure_ascii=draw.random() < 0.5)}: {_leaf(draw)}" for key in keys if draw.random() < 0.8
    ]
    return "{" + ", ".join(parts) + "}"


def _leaf(draw: Random) -> str:
    if draw.random() < 0.2:
        return f'{{"id": {draw.choice(LEAVES)}, "in": {{"here": {draw.choice(LEAVES)}}}, "0": {draw.choice(LEAVES)}}}'
    return draw.choice(LEAVES)
