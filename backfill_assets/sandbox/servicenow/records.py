"""The records of ServiceNow: tasks, people, companies and time cards; every value is a text, a reference is an id.

Here belongs what a record looks like. How references are shown belongs to `rendering.py`, how records are asked for
to `api.py`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from backfill_assets.sandbox import names
from backfill_assets.sandbox.dataset import DAY, Timeline
from backfill_assets.sandbox.draw import Draw, key_of
from backfill_assets.sandbox.ids import Texts
from backfill_assets.sandbox.selection import Json

INCIDENT, CHANGE, PROBLEM = "incident", "change_request", "problem"
USER, COMPANY, TIME_CARD = "sys_user", "core_company", "time_card"

SHARES: Mapping[str, float] = {INCIDENT: 0.4, TIME_CARD: 0.25, CHANGE: 0.12, USER: 0.1, PROBLEM: 0.08, COMPANY: 0.05}
"""Each table's part of a tenant's records."""

REFERENCES: Mapping[str, Mapping[str, str]] = {
    INCIDENT: {"caller_id": USER, "assigned_to": USER, "company": COMPANY},
    CHANGE: {"requested_by": USER, "assigned_to": USER, "company": COMPANY},
    PROBLEM: {"opened_by": USER, "assigned_to": USER, "company": COMPANY},
    USER: {"company": COMPANY, "manager": USER},
    COMPANY: {"contact": USER},
    TIME_CARD: {"user": USER, "task": INCIDENT},
}
"""The table that each reference field leads to."""

TYPED_FIELDS: Mapping[str, str] = {
    INCIDENT: "active",
    CHANGE: "start_date",
    PROBLEM: "priority",
    USER: "active",
    COMPANY: "customer",
    TIME_CARD: "total",
}
"""The field of each table that a malformed record holds nonsense in."""

_PREFIXES = {INCIDENT: "INC", CHANGE: "CHG", PROBLEM: "PRB"}
_STATES = ("1", "2", "3", "6", "7")
_LEVELS = ("1", "2", "3", "4")
_CATEGORIES = ("inquiry", "software", "hardware", "network", "database", "")
_TITLES = ("Manager", "Chief «IT» Officer", "Engineer, Level 2", "")
_REFERRED_DAYS = 90
"""References lead to records of the first days, which exist whatever `until` is."""


def as_time(moment: float) -> str:
    """A moment as ServiceNow writes it, in UTC: `2024-01-07 00:00:00`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def ids_of(key: str) -> Texts:
    """The ids of one table: 32 hexadecimal digits, the greater the later counted."""
    prefix = key_of(f"{key}/sys_id").hex()[:16]
    return Texts(write=lambda number: f"{prefix}{number:016x}", limit=1 << 48)


class Records:
    """Makes the records of one tenant; the tables' timelines say which others a record may refer to."""

    def __init__(self, key: str, timelines: Mapping[str, Timeline]) -> None:
        self.ids = {table: ids_of(f"{key}/{table}") for table in timelines}
        self._timelines = timelines
        self._keys = {table: key_of(f"{key}/{table}") for table in timelines}
        self._early = {table: _early(timeline) for table, timeline in timelines.items()}

    def incident(self, record_id: int, rank: int, moment: int) -> Json:
        """An incident."""
        draw = Draw(self._keys[INCIDENT], rank)
        task = self._task(INCIDENT, draw, record_id, moment)
        resolved = task["state"] in ("6", "7")
        return {
            **task,
            "caller_id": self._reference(USER, draw, 20),
            "category": draw.of(_CATEGORIES, 22),
            "urgency": draw.of(_LEVELS[:3], 23),
            "resolved_at": as_time(moment) if resolved else "",
            "close_notes": draw.of(names.NOTES, 24) if resolved else "",
        }

    def change_request(self, record_id: int, rank: int, moment: int) -> Json:
        """A change request."""
        draw = Draw(self._keys[CHANGE], rank)
        start = moment + 3600 * draw.below(240, 22)
        return {
            **self._task(CHANGE, draw, record_id, moment),
            "requested_by": self._reference(USER, draw, 20),
            "type": draw.of(("normal", "standard", "emergency"), 24),
            "risk": draw.of(_LEVELS, 25),
            "start_date": as_time(start),
            "end_date": as_time(start + 7200),
            "justification": draw.of(names.NOTES, 26),
        }

    def problem(self, record_id: int, rank: int, moment: int) -> Json:
        """A problem."""
        draw = Draw(self._keys[PROBLEM], rank)
        return {
            **self._task(PROBLEM, draw, record_id, moment),
            "opened_by": self._reference(USER, draw, 20),
            "known_error": _flag(draw.chance(30, 22)),
            "cause_notes": draw.of(names.NOTES, 23),
        }

    def user(self, record_id: int, rank: int, moment: int) -> Json:
        """A person."""
        draw = Draw(self._keys[USER], rank)
        given, family = draw.of(names.GIVEN, 11), draw.of(names.FAMILY, 12)
        return {
            **self._record(USER, draw, record_id, moment),
            "user_name": f"user.{record_id}",
            "first_name": given,
            "last_name": family,
            "name": f"{given} {family}",
            "email": f"user{record_id}@example.com" if draw.chance(90, 13) else "",
            "title": draw.of(_TITLES, 14),
            "active": _flag(draw.chance(88, 15)),
            "company": self._reference(COMPANY, draw, 16),
            "manager": self._reference(USER, draw, 18) if draw.chance(70, 20) else "",
            "phone": f"+1 (555) 01{draw.below(100, 21):02d}" if draw.chance(60, 23) else "",
        }

    def company(self, record_id: int, rank: int, moment: int) -> Json:
        """A company."""
        draw = Draw(self._keys[COMPANY], rank)
        city, state = draw.of(names.CITIES, 11)
        return {
            **self._record(COMPANY, draw, record_id, moment),
            "name": f"{draw.of(names.COMPANIES, 12)}{draw.of(names.SUFFIXES, 13)} {record_id % 1000:03d}",
            "street": draw.of(names.STREETS, 14),
            "city": city,
            "state": state,
            "zip": f"{draw.below(65000, 15):05d}",
            "country": "United States" if state == "FL" else "",
            "website": f"https://www.example.com/{record_id}" if draw.chance(50, 17) else "",
            "customer": _flag(draw.chance(80, 18)),
            "vendor": _flag(draw.chance(10, 19)),
            "contact": self._reference(USER, draw, 20) if draw.chance(70, 22) else "",
            "num_employees": str(draw.below(900, 23)),
        }

    def time_card(self, record_id: int, rank: int, moment: int) -> Json:
        """A time card."""
        draw = Draw(self._keys[TIME_CARD], rank)
        worked = moment - DAY * draw.below(7, 11)
        return {
            **self._record(TIME_CARD, draw, record_id, moment),
            "user": self._reference(USER, draw, 13),
            "task": self._reference(INCIDENT, draw, 15),
            "category": draw.of(("task_work", "meeting", "training"), 17),
            "week_starts_on": as_time(worked)[:10],
            "total": f"{(1 + draw.below(31, 18)) / 4:g}",
            "state": draw.of(("Pending", "Submitted", "Approved", "Rejected"), 20),
            "comments": draw.of(names.NOTES, 21),
        }

    def _task(self, table: str, draw: Draw, record_id: int, moment: int) -> Json:
        state, place = draw.of(_STATES, 11), draw.of(names.PLACES, 12)
        return {
            **self._record(table, draw, record_id, moment),
            "number": f"{_PREFIXES[table]}{record_id:07d}",
            "short_description": f"{draw.of(names.SUMMARIES, 13)} ({place})",
            "description": draw.of(names.NOTES, 14) if draw.chance(60, 14) else "",
            "state": state,
            "priority": draw.of(_LEVELS, 15),
            "impact": draw.of(_LEVELS[:3], 16),
            "active": _flag(state != "7"),
            "assigned_to": self._reference(USER, draw, 17) if draw.chance(75, 19) else "",
            "company": self._reference(COMPANY, draw, 27),
            "opened_at": as_time(moment - 60 * draw.below(60_000, 29)),
            "closed_at": as_time(moment) if state == "7" else "",
        }

    def _record(self, table: str, draw: Draw, record_id: int, moment: int) -> Json:
        return {
            **self.stamp(table, record_id, moment),
            "sys_created_on": as_time(moment - 60 * draw.below(60_000, 0)),
            "sys_created_by": draw.of(names.MEMBERS, 2),
            "sys_updated_by": draw.of(names.MEMBERS, 3),
            "sys_mod_count": str(draw.below(40, 4)),
            "sys_class_name": table,
            "sys_tags": "",
        }

    def stamp(self, table: str, record_id: int, moment: int) -> Json:
        """The fields that say which record this is and when it was last updated."""
        return {"sys_id": self.ids[table].written(record_id), "sys_updated_on": as_time(moment)}

    def _reference(self, table: str, draw: Draw, position: int) -> str:
        early = self._early[table]
        if not early:
            return ""
        return self.ids[table].write(self._timelines[table].record_id(draw.below(early, position)))


def _early(timeline: Timeline) -> int:
    first = timeline.moment(0)
    return min(2000, timeline.rank_at(first + _REFERRED_DAYS * DAY)) if timeline.total else 0


def _flag(value: bool) -> str:
    return "true" if value else "false"
