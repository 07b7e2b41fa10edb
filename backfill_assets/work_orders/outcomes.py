"""What is said of a stage of a span when it is over.

Here belong the values, and which failures end more than their own span.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from backfill_assets.core.enriched import Qualities
from backfill_assets.core.enrichment import NOTHING, Spent
from backfill_assets.core.orders import Span
from backfill_assets.errors import (
    BackfillError,
    BudgetExhausted,
    CircuitOpen,
    ConfigurationError,
    CredentialRefused,
    NoSuchTable,
    SourceUnreachable,
)

EXTRACTION, ENRICHMENT, EMBEDDING = "maintenance_logs", "ai_extracted_data", "semantic_embeddings"
STAGES = (EXTRACTION, ENRICHMENT, EMBEDDING)
"""In their order, by the names of their assets."""

FATAL = (BudgetExhausted, CircuitOpen, ConfigurationError, CredentialRefused, NoSuchTable, SourceUnreachable)


@dataclass(kw_only=True)
class Tally:
    """What came of a span."""

    written: int = 0
    refused: int = 0
    spent: Spent = NOTHING
    is_part: bool = False


@dataclass(frozen=True, kw_only=True)
class StageDone:
    """A stage of a span that was gone through, counted anew afterwards.

    `source_rows` are the records that the stage could have, `rows` those that it has, `rejected` those that are dead
    letters, by reason; `written` are the rows of this time. `is_part` where it ended before the span's end, or the span
    is no whole month.
    """

    stage: str
    span: Span
    source_rows: int
    rows: int
    rejected: Mapping[str, int] = field(default_factory=dict)
    is_balanced: bool = True
    is_part: bool = False
    written: int = 0
    bytes: int = 0
    seconds: float = 0.0
    spent: Spent = NOTHING
    qualities: Qualities | None = None

    @property
    def rows_rejected(self) -> int:
        """Dead letters."""
        return sum(self.rejected.values())

    @property
    def complete(self) -> bool:
        """Whether there is nothing to be wished for."""
        return self.is_balanced and not self.rows_rejected and not self.is_part


@dataclass(frozen=True, kw_only=True)
class StageFailed:
    """A stage of a span that could not be finished, and why; with `ends_all` no other span would fare better."""

    stage: str
    span: Span
    reason: str
    ends_all: bool = False


Outcome = StageDone | StageFailed


def failed(stage: str, span: Span, error: BackfillError) -> StageFailed:
    """The outcome of a stage that met this."""
    return StageFailed(stage=stage, span=span, reason=str(error), ends_all=isinstance(error, FATAL))
