"""Which fields of which process models are new, changed or gone: a pure decision from what is known and what is found.

Where both come from, and what is done about it, belongs to `noticing.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from backfill_assets.core.metadata import MetadataField, Paths
from backfill_assets.process_metadata.scanning import Scan


@dataclass(frozen=True, kw_only=True)
class ModelChange:
    """A model whose fields are to be filled: `new` ones where there is no row, `changed` ones over what is there."""

    model: str
    new: Sequence[MetadataField] = ()
    changed: Sequence[MetadataField] = ()


@dataclass(frozen=True, kw_only=True)
class Detected:
    """What follows from a scan.

    `remember` is to be remembered at once, since nothing is to be launched for it, `forget` to be forgotten; the models
    of `changes` are to be remembered with the paths found when their backfills are launched.
    """

    remember: Mapping[str, Paths | None] = field(default_factory=dict)
    forget: Sequence[str] = ()
    changes: Sequence[ModelChange] = ()


def detect(known: Mapping[str, Paths | None], scan: Scan, *, redo_changed: bool) -> Detected:
    """Compare; what cannot be read is neither gone nor changed.

    Where nothing is known at all, the installation is seen for the first time: all there is was there before, also
    what cannot be read yet. With `redo_changed` off, a changed path is just remembered.
    """
    if not known:
        return Detected(remember={**scan.fields, **dict.fromkeys(scan.problems)})
    unread = {place for place, paths in known.items() if paths is None}
    remember: dict[str, Paths | None] = {}
    changes = []
    for model, paths in sorted(scan.fields.items()):
        before = known.get(model)
        if before == paths:
            continue
        change = ModelChange(model=model)
        if before is not None or not _was_there(model, unread):
            change = _change(model, before or {}, paths, redo_changed=redo_changed)
        if change.new or change.changed:
            changes.append(change)
        else:
            remember[model] = paths
    gone = [place for place in sorted(known) if place not in scan.fields and not scan.is_unknown(place)]
    return Detected(remember=remember, forget=tuple(gone), changes=tuple(changes))


def _was_there(model: str, unread: set[str]) -> bool:
    """Whether the model, or a folder above it, could not be read when the installation was first seen."""
    parts = model.split("/")
    return any("/".join(parts[:depth]) in unread for depth in range(len(parts) + 1))


def _change(model: str, before: Paths, found: Paths, *, redo_changed: bool) -> ModelChange:
    fields = [MetadataField(model=model, key=key, path=path) for key, path in found.items()]
    changed = tuple(one for one in fields if before.get(one.key, one.path) != one.path)
    return ModelChange(
        model=model,
        new=tuple(one for one in fields if one.key not in before),
        changed=changed if redo_changed else (),
    )
