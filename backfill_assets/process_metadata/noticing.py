"""Noticing what changed in the process models, and launching it: what the sensor does at each tick.

Here belongs where detection's facts come from and what is done about its findings. The decision itself is pure and
belongs to `detection.py`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

from dagster import DagsterInstance

from backfill_assets.core.metadata import MetadataField, Paths
from backfill_assets.core.windows import Window
from backfill_assets.errors import BackfillError, PermanentError
from backfill_assets.following import Graph
from backfill_assets.launching import DOMAIN_TAG, Launched, recover
from backfill_assets.process_metadata.detection import ModelChange, detect
from backfill_assets.process_metadata.filling import Filling, add_partitions, launch_filling
from backfill_assets.process_metadata.letters import DOMAIN
from backfill_assets.process_metadata.partitions import months_until
from backfill_assets.process_metadata.paths import process_models
from backfill_assets.process_metadata.scanning import Listing, Scan, list_models, read_models
from backfill_assets.resources import Wiring

LAUNCH_SECONDS = 20.0
"""How long a tick goes on launching: Dagster gives a sensor a minute."""

MOST_PARTITIONS = 100_000
"""More of them make the pages of an asset slow; beyond that, a field becomes a partition when it is launched."""

NEW, CHANGED = "new metadata key", "changed metadata path"


@dataclass(frozen=True, kw_only=True)
class Noticed:
    """What a tick came to.

    `told` is what was done or seen, `problems` what has to be put right by a person; `cursor` stands for what was seen,
    where all of it was dealt with.
    """

    told: Sequence[str] = ()
    problems: Sequence[str] = ()
    cursor: str | None = None


@dataclass(frozen=True, kw_only=True)
class Noticing:
    """One look at the folder of process models."""

    wiring: Wiring
    instance: DagsterInstance
    graph: Graph
    requested_by: str
    now_ns: Callable[[], int] = time.time_ns
    monotonic: Callable[[], float] = time.monotonic
    _told: list[str] = field(default_factory=list, init=False)
    _problems: list[str] = field(default_factory=list, init=False)
    _left: list[str] = field(default_factory=list, init=False)

    def notice(self, cursor: str | None) -> Noticed:
        """Deal with everything that is not as the ledger has it; nothing is read where all looks as `cursor` says."""
        recover(self.instance, self.graph, {DOMAIN_TAG: DOMAIN}, lock=self.wiring.lock)
        now = self.now_ns()
        listing, known = list_models(process_models(self.wiring.settings)), self.wiring.fields.known()
        if cursor and cursor == self._cursor(listing, known):
            return Noticed(cursor=cursor)
        if known and not listing.stamps:
            raise PermanentError(
                f"The folder {listing.root} holds no process model, and held {len(known)} before; mount it, or correct "
                "SPIFFWORKFLOW_BACKEND_BPMN_SPEC_ABSOLUTE_DIR. Nothing is forgotten meanwhile."
            )
        scan = read_models(listing)
        self._deal_with(known, scan)
        is_over = listing.is_settled(now) and not self._problems and not self._left
        return Noticed(
            told=[*self._told, *self._left, *scan.remarks],
            problems=self._problems,
            cursor=self._cursor(listing, self.wiring.fields.known()) if is_over else None,
        )

    def _cursor(self, listing: Listing, known: Mapping[str, Paths | None]) -> str:
        """Stands for the files, what is known of them, and how that is judged."""
        fields = sorted((model, None if paths is None else sorted(paths.items())) for model, paths in known.items())
        how = self.wiring.settings.metadata_on_changed_path
        return sha256(repr((listing.digest, fields, how)).encode()).hexdigest()

    def _deal_with(self, known: Mapping[str, Paths | None], scan: Scan) -> None:
        self._problems.extend(scan.problems.values())
        redo = self.wiring.settings.metadata_on_changed_path == "redo"
        detected = detect(known, scan, redo_changed=redo)
        self.wiring.fields.remember(detected.remember)
        self.wiring.fields.forget(detected.forget)
        if not known and scan.fields:
            adopted = sum(map(len, scan.fields.values()))
            self._told.append(f"{adopted} metadata fields of {len(scan.fields)} process models are known from now on")
        self._told.extend(f"{model} is gone; its fields are forgotten" for model in detected.forget if known[model])
        self._let_be_picked(scan)
        until = self.monotonic() + LAUNCH_SECONDS
        for number, change in enumerate(detected.changes):
            if self.monotonic() > until:
                self._left.append(f"{len(detected.changes) - number} process models more are launched the next time")
                return
            self._launch(change, scan.fields[change.model])

    def _let_be_picked(self, scan: Scan) -> None:
        fields = [
            MetadataField(model=model, key=key, path=path)
            for model, paths in sorted(scan.fields.items())
            for key, path in paths.items()
        ]
        if len(fields) * len(self._months()) <= MOST_PARTITIONS:
            add_partitions(self.instance, fields)

    def _launch(self, change: ModelChange, paths: Paths) -> None:
        """Launch, and then remember: who dies in between launches again, which changes nothing."""
        ask = partial(Filling, months=self._months())
        asked = [(ask(fields=change.new), NEW)] if change.new else []
        asked += [(ask(fields=change.changed, overwrite=True), CHANGED)] if change.changed else []
        try:
            for filling, reason in asked:
                launched = launch_filling(
                    self.wiring, self.instance, self.graph, filling, reason=reason, requested_by=self.requested_by
                )
                self._told.append(f"{filling.title}: {_tell(launched)} ({reason})")
            self.wiring.fields.remember({change.model: paths})
        except BackfillError as error:
            self._problems.append(f"{change.model}: not launched: {error}")

    def _months(self) -> Sequence[Window]:
        return months_until(self.wiring.settings.metadata_start, self.wiring.clock())


def _tell(launched: Launched) -> str:
    if launched.is_new:
        return f"launched backfill {launched.backfill_id}"
    return f"backfill {launched.backfill_id} is already under way"
