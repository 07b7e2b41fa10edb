"""Which canonical columns an entity has, and which raw column of which service each comes from.

Here belongs the reading and checking of `mappings/<entity>.yaml`, and what of it a service's spec still has the tables
for. Values only: the SQL that is made of them belongs to `statement`, reading and writing the lake to `building`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator

from backfill_assets.configuration.files import Section, checked, dotted, hint, read_document
from backfill_assets.core.source import ColumnType, ServiceSpec, TableSpec
from backfill_assets.errors import ConfigurationError

MAPPINGS = Path(__file__).with_name("mappings")

FRAME = (
    *("tenant_id", "source_system", "source_table", "source_id"),
    *("effective_from", "effective_to", "is_current", "change_type", "record_hash"),
)
"""The columns that every canonical table has, beside those of its entity."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_TYPES = ", ".join(ColumnType)


@dataclass(frozen=True, kw_only=True)
class CanonicalColumn:
    """A column of an entity; one that is not `tracked` makes no new version when only it has changed."""

    name: str
    type: ColumnType
    tracked: bool = True


@dataclass(frozen=True, kw_only=True)
class RawColumn:
    """The value of the raw column with this flattened name; of a flag `negated` its opposite."""

    name: str
    negated: bool = False


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The same text in every row."""

    text: str


Origin = RawColumn | Constant
Origins = Mapping[str, Origin]
"""Where the values of a source table's canonical columns come from; a column that is not in it is null."""


@dataclass(frozen=True, kw_only=True)
class Entity:
    """One mapping file; `sources` are by service and by the service's own name of the table."""

    name: str
    columns: tuple[CanonicalColumn, ...]
    sources: Mapping[str, Mapping[str, Origins]]


@dataclass(frozen=True, kw_only=True)
class CanonicalSource:
    """A raw table that a canonical table is made from."""

    table: TableSpec
    origins: Origins


@dataclass(frozen=True, kw_only=True)
class CanonicalTable:
    """What a service's rows of an entity are made of; the columns are the same for every service."""

    service: str
    entity: str
    columns: tuple[CanonicalColumn, ...]
    sources: tuple[CanonicalSource, ...]


def canonical_tables(spec: ServiceSpec) -> tuple[CanonicalTable, ...]:
    """The canonical tables that this service's raw tables make; a table that is switched off makes none."""
    found = (_table_of(entity, spec) for entity in entities())
    return tuple(table for table in found if table.sources)


@cache
def entities() -> tuple[Entity, ...]:
    """The entities of the package's own mapping files, by name."""
    return tuple(read_entity(path) for path in sorted(MAPPINGS.glob("*.yaml")))


def read_entity(path: Path) -> Entity:
    """The entity that this file describes; raises `ConfigurationError` with a sentence for each thing that is wrong."""
    document = read_document(path, variable="the entity's name")
    section = checked(_EntitySection, document, file=path.name)
    columns = tuple(_column(name, said) for name, said in section.columns.items())
    entity = Entity(name=path.stem, columns=columns, sources=section.sources)
    if sentences := [f"{path.name}: {sentence}" for sentence in _contradictions(entity)]:
        raise ConfigurationError("\n".join(sentences))
    return entity


def _table_of(entity: Entity, spec: ServiceSpec) -> CanonicalTable:
    mapped = entity.sources.get(spec.name, {})
    sources = tuple(CanonicalSource(table=t, origins=mapped[t.name]) for t in spec.tables if t.name in mapped)
    return CanonicalTable(service=spec.name, entity=entity.name, columns=entity.columns, sources=sources)


def _column_said(value: object) -> tuple[ColumnType, bool]:
    said: dict[str, Any] = value if isinstance(value, dict) else {"type": value}
    kind, tracked = said.get("type"), said.get("tracked", True)
    if said.keys() - {"type", "tracked"} or kind not in list(ColumnType) or not isinstance(tracked, bool):
        raise ValueError(f"must be one of {_TYPES}, or {{type: one of them, tracked: false}}")
    return ColumnType(kind), tracked


def _origin_said(value: Any) -> Origin:
    match value:
        case str() if value:
            return RawColumn(name=value)
        case {"not": str() as name, **others} if name and not others:
            return RawColumn(name=name, negated=True)
        case {"constant": str() as text, **others} if not others:
            return Constant(text=text)
    raise ValueError("must be the name of a raw column, {not: a flag's name} or {constant: a text}")


class _EntitySection(Section):
    """What a mapping file may say."""

    columns: dict[str, Annotated[Any, PlainValidator(_column_said)]]
    sources: dict[str, dict[str, dict[str, Annotated[Any, PlainValidator(_origin_said)]]]]


def _column(name: str, said: tuple[ColumnType, bool]) -> CanonicalColumn:
    kind, tracked = said
    return CanonicalColumn(name=name, type=kind, tracked=tracked)


def _contradictions(entity: Entity) -> Iterator[str]:
    types = {column.name: column.type for column in entity.columns}
    if not types:
        yield "columns is empty; write at least one column with its type"
    for name in types:
        if name in FRAME:
            yield f"columns.{name} is a column that every canonical table has already; name it otherwise"
        elif not _NAME.fullmatch(name):
            yield f"columns.{dotted(name)} is no name for a column; write lower-case letters, digits and _"
    for service, tables in entity.sources.items():
        for table, origins in tables.items():
            for name, origin in origins.items():
                if problem := _problem(name, origin, types):
                    yield f"sources.{dotted(service, table, name)} {problem}"


def _problem(name: str, origin: Origin, types: Mapping[str, ColumnType]) -> str | None:
    if name not in types:
        return f"is not among the entity's columns; {hint(name, sorted(types))}"
    if isinstance(origin, Constant) and types[name] is not ColumnType.STRING:
        return f"is a constant text, but the column is a {types[name]}; name a raw column"
    if isinstance(origin, RawColumn) and origin.negated and types[name] is not ColumnType.BOOLEAN:
        return f"is the opposite of a flag, but the column is a {types[name]}; name a raw column without not"
    return None
