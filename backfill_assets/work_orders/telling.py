"""What is told of a run: the numbers of each stage of a month, and a summary for people.

Here belong the words; who is told belongs to `assets.py`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from backfill_assets.core.enrichment import QUALITY_WANTED
from backfill_assets.work_orders.outcomes import ENRICHMENT, Outcome, StageDone, StageFailed


def numbers(done: StageDone) -> Mapping[str, Any]:
    """What Dagster plots."""
    told: dict[str, Any] = {
        "rows": done.rows,
        "rows_rejected": done.rows_rejected,
        "bytes": done.bytes,
        "seconds": round(done.seconds, 3),
        "source_rows": done.source_rows,
        "complete": done.complete,
        "balanced": done.is_balanced,
        "written": done.written,
        "records_per_second": round(done.written / done.seconds, 1) if done.seconds else 0.0,
        "tokens": done.spent.tokens,
        "cost_usd": round(done.spent.dollars, 6),
    }
    return told if done.qualities is None else {**told, "flagged": done.qualities.flagged}


def summary(outcomes: Sequence[Outcome]) -> str:
    """A run in Markdown: records, errors by class, time, cost, qualities."""
    done = [one for one in outcomes if isinstance(one, StageDone)]
    lines = [
        "| stage | month | records | rejected | written | seconds | tokens | US dollars |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
        *(_line(one) for one in done),
    ]
    errors: dict[str, int] = {}
    for one in done:
        for kind, count in one.rejected.items():
            errors[f"{one.stage}: {kind}"] = errors.get(f"{one.stage}: {kind}", 0) + count
    lines += ["", "| rejected because | records |", "|---|---:|", *(f"| {k} | {n} |" for k, n in errors.items())]
    lost = [one for one in outcomes if isinstance(one, StageFailed)]
    lines += [f"\n**{one.stage} {one.span.key} is unfinished:** {one.reason}" for one in lost]
    return "\n".join([*lines, *_histogram(done)])


def _line(done: StageDone) -> str:
    cells = (done.source_rows, done.rows_rejected, done.written, f"{done.seconds:.1f}", done.spent.tokens)
    told = " | ".join(map(str, cells))
    return f"| {done.stage} | {done.span.key} | {told} | {done.spent.dollars:.4f} |"


def _histogram(done: Sequence[StageDone]) -> Sequence[str]:
    found = [one.qualities for one in done if one.stage == ENRICHMENT and one.qualities]
    if not found:
        return []
    tenths = [sum(column) for column in zip(*(one.tenths for one in found), strict=True)]
    flagged = sum(one.flagged for one in found)
    rows = [f"| {place / 10:.1f} | {records} |" for place, records in enumerate(tenths) if records]
    return [
        "",
        f"Flagged (quality below {QUALITY_WANTED}): {flagged}",
        "",
        "| quality from | records |",
        "|---|---:|",
        *rows,
    ]
