"""The use case: make one tenant's canonical table anew from all raw versions that the lake holds of it.

Here belongs what is built from what, and what came of it. When it may be built (only from a complete history) belongs
to who calls it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from backfill_assets.adapters.lake.canonical import CanonicalFile, CanonicalLake
from backfill_assets.adapters.lake.engine import MODEST, Limits
from backfill_assets.adapters.lake.raw import RawLake
from backfill_assets.tenant_history.canonical.mapping import CanonicalTable
from backfill_assets.tenant_history.canonical.statement import SourceView, statement
from backfill_assets.tenant_history.reading import raw_table


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a build came to: `versions` were read, and `rows` of `ids` written, of which `current` hold now."""

    place: str
    versions: int
    rows: int
    ids: int
    current: int
    bytes: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class CanonicalBuild:
    """Builds one tenant's canonical table of an entity from one service.

    `at_least` is how many versions the raw files are known to hold: from fewer it is not built.
    """

    tenant: str
    service: str
    table: CanonicalTable
    lake: RawLake
    at_least: int = 0
    limits: Limits = MODEST
    clock: Callable[[], float] = monotonic

    def build(self) -> Built:
        """Build it; the same raw versions make the same bytes, in whatever order and however often they came.

        Raises `TransientError` when another build took its place meanwhile, and `PermanentError` for a raw file that
        is damaged or holds what cannot become its column's type.
        """
        begun = self.clock()
        sources = sorted(self.table.sources, key=lambda source: source.table.name)
        raws = [raw_table(self.tenant, self.service, source.table) for source in sources]

        def select(columns: Sequence[frozenset[str]]) -> str:
            parts = enumerate(zip(sources, raws, columns, strict=True))
            views = [SourceView(number=n, source=source, raw=raw, columns=found) for n, (source, raw, found) in parts]
            return statement(self.table, tenant=self.tenant, views=views)

        file = CanonicalFile(tenant=self.tenant, entity=self.table.entity, service=self.service)
        lake = CanonicalLake(raw=self.lake, limits=self.limits)
        done = lake.rebuild(file, raws, select, at_least=self.at_least)
        return Built(place=lake.place(file), **vars(done), seconds=self.clock() - begun)
