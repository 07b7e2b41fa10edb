"""Small installations, written so that a test's point can be seen.

Here belongs what spares tests the columns that they do not care about.
"""

import json
from hashlib import sha256
from typing import Any
from uuid import UUID

from backfill_assets.adapters.spiffworkflow.memory import Installation, Instance, MetadataRow, Task
from backfill_assets.core.extraction import EMPTY_HASH
from backfill_assets.core.metadata import MetadataField
from backfill_assets_tests.process_metadata.filling import in_month

MODEL = "shop/order"
CUSTOMER = MetadataField(model=MODEL, key="customer", path="customer.id")
TOTAL = MetadataField(model=MODEL, key="total", path="total")
DANGLING = "d" * 64


class Shop(Installation):
    """An installation that grows by one instance after another, all of one model."""

    def document(self, data: Any) -> str:
        """Keep a document, given as JSON text or as what it stands for; return its hash."""
        text = data if isinstance(data, str) else json.dumps(data)
        name = sha256(text.encode()).hexdigest()
        self.documents[name] = text
        return name

    def order(self, data: Any = None, *, env: Any = None, created_at: int | None = in_month(3), **task: Any) -> int:
        """One more instance whose only task holds this; return its id."""
        instance = self.instance(created_at=created_at)
        self.task(instance, data, env=env, **task)
        return instance

    def instance(self, *, created_at: int | None = in_month(3), model: str = MODEL) -> int:
        """One more instance that has no task yet; return its id."""
        number = len(self.instances) + 1
        self.instances.append(Instance(id=number, model=model, created_at=created_at))
        return number

    def task(self, instance: int, data: Any = None, *, env: Any = None, **more: Any) -> None:
        """One more task of it, completed unless said otherwise."""
        given = {
            "guid": str(UUID(int=len(self.tasks) + 1)),
            "state": "COMPLETED",
            "json_data_hash": EMPTY_HASH if data is None else self.document(data),
            "python_env_data_hash": EMPTY_HASH if env is None else self.document(env),
            "ended_at": 1_700_000_000_000_000,
        }
        self.tasks.append(Task(instance_id=instance, **{**given, **more}))

    def row(self, instance: int, field: MetadataField, value: str, updated_at: int) -> None:
        """A row that is there already."""
        row = MetadataRow(
            instance_id=instance, key=field.key, value=value, updated_at=updated_at, created_at=in_month(1)
        )
        self.rows[instance, field.key] = row


def orders(number: int, *, month: int = 3) -> Shop:
    """So many instances that hold both fields."""
    shop = Shop()
    for place in range(number):
        shop.order({"customer": {"id": f"C{place}"}, "total": place}, created_at=in_month(month) + place)
    return shop
