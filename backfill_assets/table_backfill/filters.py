"""Filters as the platform keeps them, as conditions on the columns of a live table.

Here belongs what a filter means: which clauses must hold together, and that it names columns that are there. The text
is read by `scanning.py`, values are fitted to their columns by `values.py`, and how a database is asked belongs to the
adapters: a value is never part of a statement.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from backfill_assets.core.tables import Column, Condition, Filter, Group, Logic, Operator, TableShape
from backfill_assets.errors import PermanentError
from backfill_assets.table_backfill.scanning import MOST_CLAUSES, Clause, scan
from backfill_assets.table_backfill.values import fitted

Tree = Clause | tuple[Logic, "tuple[Tree, ...]"]
VERSION = 2
CONTAINS = (Operator.LIKE, Operator.ILIKE)


def read_filter(text: str | None, shape: TableShape) -> Filter:
    """What the text asks of the rows of this table; None where it asks nothing.

    Raises `PermanentError` with a sentence where it cannot be read, asks for too much, or does not fit the table.
    """
    tree = parse(text or "")
    return None if tree is None else _checked(tree, shape)


def both(*filters: Filter) -> Filter:
    """What holds where all of these hold."""
    asked = tuple(one for one in filters if one is not None)
    if len(asked) <= 1:
        return asked[0] if asked else None
    return Group(logic=Logic.AND, members=asked)


def parse(text: str) -> Tree | None:
    """The clauses of a text in either notation, unchecked against any table."""
    tree = _from_json(text) if text.lstrip().startswith("{") else _together(Logic.AND, scan(text))
    if tree is not None and sum(1 for _ in _clauses(tree)) > MOST_CLAUSES:
        raise PermanentError(f"The filter has more than {MOST_CLAUSES} conditions, which is what can be asked for")
    return tree


def write_clause(column: str, operator: Operator, values: Sequence[str]) -> str:
    """A clause as the platform keeps it; raises `PermanentError` for one that would not be read as it was meant."""
    name = column if column.isidentifier() else '"' + column.replace('"', '""') + '"'
    quoted = ["'" + value.replace("'", "''") + "'" for value in values]
    match operator:
        case Operator.IS_NULL | Operator.IS_NOT_NULL:
            text = f"{name} {operator}"
        case Operator.IN:
            text = f"{name} IN ({','.join(quoted)})"
        case Operator.BETWEEN:
            text = f"{name} BETWEEN {' AND '.join(quoted)}"
        case _:
            text = f"{name} {operator} {''.join(quoted)}"
    if scan(text) != (Clause(column=column, operator=operator, values=tuple(values)),):
        raise PermanentError(f"The filter on {column} cannot be written so that it is read as it is meant")
    return text


def _together(logic: Logic, parts: Sequence[Tree]) -> Tree | None:
    if len(parts) <= 1:
        return parts[0] if parts else None
    return (logic, tuple(parts))


def _clauses(tree: Tree) -> Iterator[Clause]:
    if isinstance(tree, Clause):
        yield tree
    else:
        for part in tree[1]:
            yield from _clauses(part)


def _checked(tree: Tree, shape: TableShape) -> Condition | Group:
    if not isinstance(tree, Clause):
        logic, parts = tree
        return Group(logic=logic, members=tuple(_checked(part, shape) for part in parts))
    column = _column(tree.column, shape)
    values = tuple(fitted(value, column, tree.operator) for value in tree.values)
    return Condition(column=column.name, operator=tree.operator, values=values)


def _column(name: str, shape: TableShape) -> Column:
    """The column of this name; that of another case where there is just one, as the engine before took it."""
    if exactly := shape.column(name):
        return exactly
    found = [column for column in shape.columns if column.name.lower() == name.lower()]
    if len(found) == 1:
        return found[0]
    known = ", ".join(column.name for column in shape.columns)
    raise PermanentError(f"The filter names column {name!r}, which table {shape.name} does not have; it has {known}")


def _from_json(text: str) -> Tree | None:
    """Groups of conditions; AND binds before OR between groups, as it does in SQL."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise PermanentError("The filter begins as JSON and is none; write it anew") from None
    if not isinstance(said, dict) or said.get("version") != VERSION:
        raise PermanentError(f"The filter is JSON, but not of version {VERSION}; no other is known")
    groups = [_group(one) for one in _list(said, "groups")]
    between = [_logic(one) for one in _list(said, "interLogic")]
    if len(between) < len(groups) - 1:
        raise PermanentError("The filter does not say in interLogic how all of its groups are joined; write AND or OR")
    alternatives: list[list[Tree]] = [[]]
    for number, group in enumerate(groups):
        if number and between[number - 1] is Logic.OR:
            alternatives.append([])
        alternatives[-1] += [] if group is None else [group]
    joined = [_together(Logic.AND, parts) for parts in alternatives]
    if len(joined) > 1 and None in joined:
        raise PermanentError("The filter has an empty group beside an OR, which would let every row through")
    return _together(Logic.OR, [one for one in joined if one is not None])


def _group(said: object) -> Tree | None:
    if not isinstance(said, dict):
        raise PermanentError("The filter has a group that is no JSON object; write it anew")
    parts = [_condition(one) for one in _list(said, "conditions")]
    return _together(_logic(said.get("intraLogic", "AND")), parts)


def _condition(said: object) -> Clause:
    if not isinstance(said, dict) or not isinstance(said.get("column"), str):
        raise PermanentError("The filter has a condition that names no column; write it anew")
    name = " ".join(str(said.get("operator", "")).upper().split())
    if name not in set(Operator):
        raise PermanentError(f"The filter's operator {name!r} is not known; known are {', '.join(Operator)}")
    operator = Operator(name)
    return Clause(column=said["column"], operator=operator, values=tuple(_values(operator, said)))


def _values(operator: Operator, said: Mapping[str, Any]) -> list[str]:
    if operator in (Operator.IS_NULL, Operator.IS_NOT_NULL):
        return []
    value = said.get("value")
    if operator is Operator.IN:
        listed = value if isinstance(value, list) else str("" if value is None else value).split(",")
        texts = [_text(one).strip() for one in listed]
        if not texts or "" in texts:
            raise PermanentError(f"The filter's IN on {said['column']} lists no value, or an empty one")
        return texts
    if operator is Operator.BETWEEN:
        return [_text(value), _text(said.get("value2"))]
    # In this notation a pattern is what the text contains.
    return [f"%{_text(value)}%"] if operator in CONTAINS else [_text(value)]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise PermanentError("The filter has a condition without a value; write it anew")


def _logic(said: object) -> Logic:
    if not isinstance(said, str) or said.upper() not in set(Logic):
        raise PermanentError("The filter joins conditions by something else than AND and OR")
    return Logic(said.upper())


def _list(said: Mapping[str, Any], name: str) -> list[Any]:
    found = said.get(name) or []
    if not isinstance(found, list):
        raise PermanentError(f"The filter's {name} is no list; write it anew")
    return found
