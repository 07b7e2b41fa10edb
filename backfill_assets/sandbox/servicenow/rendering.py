"""How ServiceNow shows a record: which fields, references as links or ids, and fields of the records they lead to.

Here belongs what `sysparm_fields`, `sysparm_exclude_reference_link` and `sysparm_display_value` mean.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import QueryParams

from backfill_assets.sandbox.selection import Json
from backfill_assets.sandbox.servicenow.records import REFERENCES
from backfill_assets.sandbox.table import Table

_IDENTITY = frozenset(("sys_id", "sys_updated_on"))


@dataclass(frozen=True, kw_only=True)
class Database:
    """All tables of a tenant, for walking from one record to another."""

    tables: Mapping[str, Table]

    def knows(self, table: str, field: str) -> bool:
        """Whether there is such a field, perhaps in another table (`caller_id.name`)."""
        name, _, further = field.partition(".")
        if not further:
            return name in self.tables[table].fields
        target = REFERENCES.get(table, {}).get(name)
        return target is not None and self.knows(target, further)

    def read(self, table: str, record: Mapping[str, Any], field: str) -> str | None:
        """The text of a field, perhaps in another table; None where nothing leads there."""
        name, _, further = field.partition(".")
        if not further:
            return record.get(name)
        target = REFERENCES.get(table, {}).get(name)
        other = None if target is None else self.referred(target, record.get(name, ""))
        return None if target is None or other is None else self.read(target, other, further)

    def target(self, table: str, field: str) -> str | None:
        """The table that a reference field leads to; None for other fields."""
        name, _, further = field.partition(".")
        target = REFERENCES.get(table, {}).get(name)
        return self.target(target, further) if further and target else target

    def referred(self, table: str, sys_id: str) -> Json | None:
        """The record with this id."""
        number = self.tables[table].id_format.number(sys_id)
        return None if number is None else self.tables[table].get(number)


@dataclass(frozen=True, kw_only=True)
class View:
    """Which fields are shown, and how."""

    fields: tuple[str, ...]
    has_links: bool
    display: str

    @classmethod
    def parse(cls, parameters: QueryParams) -> "View":
        """Read the parameters that a request has."""
        named = (part.strip() for part in parameters.get("sysparm_fields", "").split(","))
        return cls(
            fields=tuple(filter(None, named)),
            has_links=parameters.get("sysparm_exclude_reference_link", "false").lower() != "true",
            display=parameters.get("sysparm_display_value", "false").lower(),
        )

    @property
    def is_narrow(self) -> bool:
        """Whether only ids and versions are asked for."""
        return bool(self.fields) and _IDENTITY.issuperset(self.fields)

    def of(self, database: Database, table: str, record: Json, address: Callable[[str, str], str]) -> Json:
        """The record as it is shown; `address` says where a record of a table is."""
        shown: Json = {}
        for field in self.fields or record:
            value = database.read(table, record, field)
            if value is not None or (self.fields and database.knows(table, field)):
                target = database.target(table, field)
                shown[field] = self._value(database, target, value or "", address)
        return shown

    def _value(self, database: Database, target: str | None, value: str, address: Callable[[str, str], str]) -> Any:
        link = {"link": address(target, value)} if target and value and self.has_links else {}
        if self.display == "false":
            return {**link, "value": value} if link else value
        told = _name_of(database.referred(target, value)) if target and value else value
        if self.display == "all":
            return {"display_value": told, **link, "value": value}
        return {"display_value": told, **link} if link else told


def _name_of(record: Json | None) -> str:
    return str((record or {}).get("name") or (record or {}).get("number") or "")
