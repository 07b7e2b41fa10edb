"""When the records of one table were last updated and which ids they have: computed, never stored.

Here belongs what is true of any service's table: how many records a day brings, the moment of each, and the ids,
which are not in the order of time. What a record looks like belongs to the module of its service, what was changed
since the start to `table.py`.

A record is known by its rank: 0 for the earliest, counted up over time. Only one number a day is held in memory.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import accumulate
from math import isqrt
from random import Random

TENANTS = ("acme", "globex", "initech")
TENANT_SHARES = {"acme": 0.5, "globex": 0.3, "initech": 0.2}
"""Each tenant's part of a service's records."""

DAY = 86_400
_LAST_SECOND = DAY - 1
_WEEKDAY_WEIGHTS = (1.25, 1.3, 1.25, 1.2, 1.15, 0.45, 0.4)  # Monday first; their mean is 1
_MONDAY = 4  # 1970-01-05, the first Monday since the epoch, is day 4


def as_text(moment: int) -> str:
    """A moment as services write it: `2024-01-07T00:00:00Z`."""
    return datetime.fromtimestamp(moment, UTC).isoformat()[:19] + "Z"


def as_moment(text: str) -> float:
    """Seconds since the epoch of an ISO 8601 text; without an offset it is UTC. Raises ValueError."""
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()


class Shuffle:
    """A keyed permutation of `range(size)`, invertible in constant time.

    A Feistel network over two halves whose ranges multiply to slightly more than `size`; a value that falls outside
    goes round again, so that both directions stay within. Holds 4 tables of about sqrt(size) numbers.
    """

    def __init__(self, key: str, size: int) -> None:
        self.size = size
        self._left = isqrt(max(size, 1) - 1) + 1
        self._right = max(1, -(-size // self._left))
        random = Random(key)
        self._rounds = tuple(
            array("Q", (int(random.random() * values) for _ in range(entries)))
            for entries, values in ((self._right, self._left), (self._left, self._right)) * 2
        )

    def forward(self, value: int) -> int:
        """Where `value` goes."""
        left, right, (f, g, h, k) = self._left, self._right, self._rounds
        while True:
            a, b = divmod(value, right)
            a = (a + f[b]) % left
            b = (b + g[a]) % right
            a = (a + h[b]) % left
            b = (b + k[a]) % right
            value = a * right + b
            if value < self.size:
                return value

    def backward(self, value: int) -> int:
        """Where `value` came from."""
        left, right, (f, g, h, k) = self._left, self._right, self._rounds
        while True:
            a, b = divmod(value, right)
            b = (b - k[a]) % right
            a = (a - h[b]) % left
            b = (b - g[a]) % right
            a = (a - f[b]) % left
            value = a * right + b
            if value < self.size:
                return value


class Timeline:
    """The moments and ids of one table's records between `since` and `until`, the latter included.

    Equal keys give equal timelines. A later `until` in the same year only adds records: ids are dealt out for the
    whole year. The first record of a day is at 00:00:00, the last (of at least two) at 23:59:59.
    """

    def __init__(self, key: str, *, per_day: float, since: datetime, until: datetime) -> None:
        self.key = key
        self._first_day = int(since.timestamp()) // DAY
        horizon = int(datetime(until.astimezone(UTC).year + 1, 1, 1, tzinfo=UTC).timestamp()) // DAY
        counts = (_records_on(key, day, per_day) for day in range(self._first_day, horizon))
        self._starts = list(accumulate(counts, initial=0))
        self._salt = _number(key)
        self._shuffle = Shuffle(key, self._starts[-1])
        self.total = self._starts[-1]
        self.total = self.rank_at(int(until.timestamp()) + 1)

    @property
    def capacity(self) -> int:
        """The greatest id that may exist."""
        return self._shuffle.size

    def rank_at(self, moment: int) -> int:
        """How many records are earlier than `moment`."""
        day, second = divmod(moment, DAY)
        index = day - self._first_day
        if not 0 <= index < len(self._starts) - 1:
            return 0 if index < 0 else self.total
        positions = range(self._starts[index + 1] - self._starts[index])
        within = bisect_left(positions, second, key=lambda position: self._second(index, position))
        return min(self.total, self._starts[index] + within)

    def moment(self, rank: int) -> int:
        """When the record of this rank was last updated."""
        index = bisect_right(self._starts, rank) - 1
        return (self._first_day + index) * DAY + self._second(index, rank - self._starts[index])

    def first_rank_of_day(self, moment: int) -> int:
        """How many records are earlier than the day of `moment`."""
        return self._starts[min(max(0, moment // DAY - self._first_day), len(self._starts) - 1)]

    def record_id(self, rank: int) -> int:
        """The id of the record of this rank."""
        return self._shuffle.forward(rank) + 1

    def rank(self, record_id: int) -> int | None:
        """The rank of the record with this id, or None where no record has it."""
        if not 1 <= record_id <= self.capacity:
            return None
        rank = self._shuffle.backward(record_id - 1)
        return rank if rank < self.total else None

    def every(self) -> Iterator[tuple[int, int]]:
        """Rank and moment of every record, day by day."""
        for index in range(len(self._starts) - 1):
            midnight = (self._first_day + index) * DAY
            for rank in range(self._starts[index], min(self._starts[index + 1], self.total)):
                yield rank, midnight + self._second(index, rank - self._starts[index])

    def _second(self, index: int, position: int) -> int:
        last = self._starts[index + 1] - self._starts[index] - 1
        if position == 0:
            return 0
        if position == last:
            return _LAST_SECOND
        jitter = (position * 2_654_435_761 + index * 40_503 + self._salt) % _LAST_SECOND
        return (position * _LAST_SECOND + jitter) // last


def timelines(
    key: str, shares: Mapping[str, float], *, per_day: float, since: datetime, until: datetime
) -> dict[str, Timeline]:
    """A timeline for each table, which gets its share of all records."""
    return {
        table: Timeline(f"{key}/{table}", per_day=per_day * share, since=since, until=until)
        for table, share in shares.items()
    }


def _records_on(key: str, day: int, per_day: float) -> int:
    weight = _WEEKDAY_WEIGHTS[(day - _MONDAY) % 7]
    swing = 0.7 + 0.6 * _fraction(f"{key}/swing/{day}")
    return int(per_day * weight * swing + _fraction(f"{key}/rest/{day}"))


def _fraction(key: str) -> float:
    return _number(key) / 2**64


def _number(key: str) -> int:
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest())
