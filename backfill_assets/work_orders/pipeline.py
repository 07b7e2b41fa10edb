"""Asking a provider about many records at once, and committing each answer before its place is given away.

Here belongs the flow: read ahead, scrub, ask, commit; at most so many requests are under way or answered and not yet
committed, so that no more than these are lost with the process. What is asked belongs to `enrichment.py` and
`embedding.py`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Generic, TypeVar

from backfill_assets.core.dead_letters import DeadLetter, DeadLetterLedger
from backfill_assets.core.enriched import OrderTarget, OrderWork, Version
from backfill_assets.core.enrichment import NOTHING, Spent
from backfill_assets.core.orders import Order, Position, Span
from backfill_assets.core.scrubbing import Scrubber
from backfill_assets.core.windows import Clock
from backfill_assets.errors import BackfillError, RejectedRecord, TransientError
from backfill_assets.work_orders.letters import Letters, Refused, kinds, undone
from backfill_assets.work_orders.outcomes import FATAL, StageDone, Tally

READ_AT_ONCE = 250
"""Records that are read and scrubbed at once: what keeps requests busy meanwhile, and bounds memory."""

SECONDS_TO_GATHER = 0.05
"""How long an answer waits for others to be committed with."""

Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class Clean:
    """A record with its scrubbed text."""

    order: Order
    text: str


@dataclass(frozen=True, kw_only=True)
class Answer(Generic[Row]):
    """What came of one request."""

    rows: Sequence[Row] = ()
    refused: Sequence[Refused] = ()
    spent: Spent = NOTHING


@dataclass(frozen=True, kw_only=True)
class Pipeline(Generic[Row]):
    """Asks about every record of a span that is behind; `ask` answers for up to `unit` records at once.

    `at_once` is how many requests may be under way; `put` writes what came of them within a transaction.
    """

    target: OrderTarget
    scrubber: Scrubber
    dead_letters: DeadLetterLedger
    stage: str
    run_id: str
    version: Version
    unit: int
    at_once: int
    ask: Callable[[Sequence[Clean]], Awaitable[Answer[Row]]]
    put: Callable[[OrderWork, Sequence[Row]], None]
    clock: Clock
    log: Callable[[str], None]

    @property
    def letters(self) -> Letters:
        """The stage's dead letters."""
        return Letters(ledger=self.dead_letters, table=self.stage, run_id=self.run_id)

    def current_letters(self, span: Span) -> Sequence[DeadLetter]:
        """The letters of records that are behind still; those of older texts and versions are removed."""
        held = self.letters.of(span)
        if not held:
            return []
        orders = self.target.orders([letter.record_id for letter in held])
        wanted = {(one.id, _letter_version(one, self.version)) for one in orders}
        current = [letter for letter in held if (letter.record_id, letter.version) in wanted]
        self.letters.resolve([letter for letter in held if letter not in current])
        return current

    async def finish(self, span: Span, most_records: int | None) -> StageDone:
        """Go through the span, and count anew what it has and what is behind still."""
        began = perf_counter()
        tally = await self.run(span, most_records)
        stored = self.target.standing(span).records
        behind = self.target.count_behind(span, self.version)
        letters = self.current_letters(span)
        return StageDone(
            stage=self.stage,
            span=span,
            source_rows=stored,
            rows=stored - behind,
            rejected=kinds(letters),
            is_balanced=behind == len(letters),
            is_part=tally.is_part or not span.is_whole,
            written=tally.written,
            seconds=perf_counter() - began,
            spent=tally.spent,
        )

    async def run(self, span: Span, most_records: int | None = None) -> Tally:
        """Go through the span; raises what ends it after all that was under way has been committed."""
        tally = Tally()
        flow = _Flow(pipeline=self, span=span, tally=tally)
        writer = asyncio.create_task(flow.write())
        try:
            await flow.feed(most_records)
            await flow.settled()
        finally:
            # On an interrupt what is under way is lost, as with the process.
            for task in flow.asking:
                task.cancel()
            flow.close()
            await asyncio.gather(writer, *flow.asking, return_exceptions=True)
        flow.raise_what_ended_it()
        return tally


@dataclass(kw_only=True)
class _Flow(Generic[Row]):
    """One span on its way."""

    pipeline: Pipeline[Row]
    span: Span
    tally: Tally
    asking: set[asyncio.Task[None]] = field(default_factory=set)
    answers: asyncio.Queue[tuple[Answer[Row], asyncio.Event] | None] = field(default_factory=asyncio.Queue)
    ended_by: BaseException | None = None

    async def feed(self, most_records: int | None) -> None:
        """Begin a request for each unit, as places become free."""
        places = asyncio.Semaphore(self.pipeline.at_once)
        begun = 0
        async for clean in self._clean():
            for start in range(0, len(clean), self.pipeline.unit):
                await places.acquire()
                left = None if most_records is None else most_records - begun
                if self.ended_by is not None or left == 0:
                    self.tally.is_part = True
                    return
                unit = clean[start : start + self.pipeline.unit][:left]
                begun += len(unit)
                task = asyncio.create_task(self._ask(unit, places))
                self.asking.add(task)
                task.add_done_callback(self.asking.discard)

    async def settled(self) -> None:
        """Wait until all that was begun is committed."""
        while self.asking:
            await asyncio.wait(self.asking)

    def close(self) -> None:
        """Nothing more comes."""
        self.answers.put_nowait(None)

    def raise_what_ended_it(self) -> None:
        """Raise the first failure that ended it."""
        if self.ended_by is not None:
            raise self.ended_by

    async def _clean(self) -> AsyncIterator[Sequence[Clean]]:
        """Scrubbed records, a page at a time; while one page is asked about, the next one is scrubbed."""
        known = {(letter.record_id, letter.version) for letter in self.pipeline.letters.of(self.span)}
        coming = asyncio.create_task(asyncio.to_thread(self._read, None, known))
        try:
            while (page := await coming) is not None:
                clean, refused, last = page
                coming = asyncio.create_task(asyncio.to_thread(self._read, last, known))
                if refused:
                    await self._committed(Answer(refused=refused))
                yield clean
        finally:
            coming.cancel()

    def _read(
        self, after: Position | None, known: set[tuple[str, str]]
    ) -> tuple[Sequence[Clean], Sequence[Refused], Position] | None:
        """The next records that are behind, scrubbed, and those that could not be."""
        pipeline = self.pipeline
        orders = pipeline.target.behind(self.span, pipeline.version, after, READ_AT_ONCE)
        if not orders:
            return None
        # What is a dead letter already would be paid for again; `backfill dead-letters retry` asks for that.
        wanted = [one for one in orders if (one.id, _letter_version(one, pipeline.version)) not in known]
        clean, refused = scrub(pipeline.target, pipeline.scrubber, wanted, pipeline.version)
        return clean, refused, orders[-1].position

    async def _ask(self, unit: Sequence[Clean], places: asyncio.Semaphore) -> None:
        try:
            await self._committed(await self._answered(unit))
        except BackfillError as error:
            self.ended_by = self.ended_by or error
        finally:
            places.release()

    async def _answered(self, unit: Sequence[Clean]) -> Answer[Row]:
        try:
            return await self.pipeline.ask(unit)
        except (RejectedRecord, TransientError) as error:
            if isinstance(error, FATAL):
                raise
            if len(unit) == 1:
                kind = "rejected" if isinstance(error, RejectedRecord) else "service failed"
                order = unit[0].order
                return Answer(refused=[undone(order, self.pipeline.version, kind=kind, reason=str(error))])
        # One of several is bad; alone, each says whether it is the one.
        alone = [await self._answered([one]) for one in unit]
        return Answer(
            rows=[row for one in alone for row in one.rows],
            refused=[refused for one in alone for refused in one.refused],
            spent=sum((one.spent for one in alone), NOTHING),
        )

    async def _committed(self, answer: Answer[Row]) -> None:
        written = asyncio.Event()
        await self.answers.put((answer, written))
        await written.wait()

    async def write(self) -> None:
        """Commit answers as they come, several at once."""
        while (first := await self.answers.get()) is not None:
            await asyncio.sleep(SECONDS_TO_GATHER)
            gathered, is_last = [first], False
            while not self.answers.empty():
                one = self.answers.get_nowait()
                if one is None:
                    is_last = True
                    break
                gathered.append(one)
            try:
                await asyncio.to_thread(self._commit, [answer for answer, _ in gathered])
            except BackfillError as error:
                self.ended_by = self.ended_by or error
            for _, written in gathered:
                written.set()
            if is_last:
                return

    def _commit(self, answers: Sequence[Answer[Row]]) -> None:
        rows = [row for answer in answers for row in answer.rows]
        refused = [one for answer in answers for one in answer.refused]
        self.pipeline.letters.put(self.span, refused, self.pipeline.clock())
        if rows:
            with self.pipeline.target.begin() as work:
                self.pipeline.put(work, rows)
        self.tally.written += len(rows)
        self.tally.refused += len(refused)
        self.tally.spent += sum((answer.spent for answer in answers), NOTHING)


def scrub(
    target: OrderTarget, scrubber: Scrubber, orders: Sequence[Order], version: Version
) -> tuple[Sequence[Clean], Sequence[Refused]]:
    """Scrub records, those only whose text was not scrubbed by these rules before, whoever did it.

    Whatever cannot be scrubbed is refused: nothing goes on as it is.
    """
    texts = {order.text_hash: order.text for order in orders}
    known = dict(target.scrubbed(scrubber.rules, list(texts)))
    missing = {name: text for name, text in texts.items() if name not in known}
    new, problems = _scrubbed(scrubber, missing)
    if new:
        with target.begin() as work:
            work.put_scrubbed(scrubber.rules, new)
    known |= new
    clean = [Clean(order=order, text=known[order.text_hash]) for order in orders if order.text_hash in known]
    refused = [
        undone(order, version, kind="not scrubbed", reason=problems[order.text_hash])
        for order in orders
        if order.text_hash in problems
    ]
    return clean, refused


def _scrubbed(scrubber: Scrubber, texts: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Scrubbed texts and problems, both by hash."""
    names = list(texts)
    try:
        found = scrubber.scrub([texts[name] for name in names])
    except RejectedRecord as error:
        if len(names) == 1:
            return {}, {names[0]: str(error)}
    else:
        return {name: one.text for name, one in zip(names, found, strict=True)}, {}
    alone = [_scrubbed(scrubber, {name: texts[name]}) for name in names]
    return (
        {name: text for new, _ in alone for name, text in new.items()},
        {name: reason for _, problems in alone for name, reason in problems.items()},
    )


def _letter_version(order: Order, version: Version) -> str:
    return undone(order, version, kind="", reason="").version
