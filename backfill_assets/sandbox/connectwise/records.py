"""The records of ConnectWise PSA: tickets, time entries, companies and contacts, in ConnectWise's own shapes.

Here belongs what a record looks like. When records happen and which ids they have belongs to `dataset.py`; how they
are asked for, to `api.py`.
"""

from collections.abc import Mapping
from functools import lru_cache

from backfill_assets.sandbox import names
from backfill_assets.sandbox.dataset import DAY, Timeline, as_text
from backfill_assets.sandbox.draw import Draw, key_of
from backfill_assets.sandbox.selection import Json

TICKETS, TIME_ENTRIES, COMPANIES, CONTACTS = "service/tickets", "time/entries", "company/companies", "company/contacts"

SHARES: Mapping[str, float] = {TICKETS: 0.45, TIME_ENTRIES: 0.35, CONTACTS: 0.12, COMPANIES: 0.08}
"""Each table's part of a tenant's records."""

TYPED_FIELDS = {TICKETS: "closedFlag", TIME_ENTRIES: "actualHours", COMPANIES: "deletedFlag", CONTACTS: "inactiveFlag"}
"""The field of each table that a malformed record holds nonsense in."""

_BOARDS = tuple(enumerate(("Help Desk", "Network Operations", "Projects", "On-Site «Field»"), start=1))
_STATUSES = tuple(enumerate(("New", "In Progress", "Waiting on Client", "Scheduled", "Completed", ">Closed"), start=16))
_PRIORITIES = (
    (1, "Priority 1 - Critical"),
    (2, "Priority 2 - High"),
    (3, "Priority 3 - Normal"),
    (4, "Priority 4 - Low"),
)
_WORK_TYPES = tuple(enumerate(("Remote", "On-Site", "Travel", "Project"), start=1))
_WORK_ROLES = tuple(enumerate(("Engineer", "Consultant", "Technician"), start=1))
_COMPANY_TYPES = tuple(enumerate(("Client", "Prospect", "Vendor", "Former Client"), start=1))
_BILLABLE = ("Billable", "DoNotBill", "NoCharge", "NoDefault")
_LEVELS = ("Low", "Medium", "High")
_REFERRED_DAYS = 90
"""Tickets and time entries belong to companies and contacts of the first days, which exist whatever `until` is."""


class Records:
    """Makes the records of one tenant; the tables' timelines say which others a record may refer to."""

    def __init__(self, key: str, timelines: Mapping[str, Timeline]) -> None:
        self._timelines = timelines
        self._keys = {table: key_of(f"{key}/{table}") for table in timelines}
        self._company_of = lru_cache(maxsize=4096)(self._company_reference)
        self._contact_of = lru_cache(maxsize=4096)(self._contact_reference)
        self._referred = {table: self._early(timelines[table]) for table in (COMPANIES, CONTACTS)}

    def ticket(self, record_id: int, rank: int, moment: int) -> Json:
        """A service ticket."""
        draw = Draw(self._keys[TICKETS], rank)
        closed, contact = draw.chance(70, 1), self._contact(draw, 2)
        entered = moment - 60 * draw.below(60 * 24 * 30, 4)
        return {
            "id": record_id,
            "summary": f"{draw.of(names.SUMMARIES, 6)} ({draw.of(names.PLACES, 7)})",
            "recordType": "ProjectTicket" if draw.chance(8, 8) else "ServiceTicket",
            "board": _referred("board", draw.of(_BOARDS, 9)),
            "status": _referred("status", _STATUSES[-1] if closed else draw.of(_STATUSES[:-1], 10)),
            "company": self._company(draw, 11),
            "contact": contact,
            "contactName": contact["name"] if contact else None,
            "contactEmailAddress": f"contact{contact['id']}@example.com" if contact else None,
            "type": _referred("type", draw.of(_WORK_TYPES, 13)) if draw.chance(60, 14) else None,
            "owner": _member(draw, 15) if draw.chance(80, 16) else None,
            "priority": _referred("priority", draw.of(_PRIORITIES, 17)),
            "severity": draw.of(_LEVELS, 18),
            "impact": draw.of(_LEVELS, 19),
            "requiredDate": as_text(entered + 7 * DAY) if draw.chance(30, 20) else None,
            "budgetHours": draw.below(400, 21) / 10 if draw.chance(40, 23) else None,
            "actualHours": draw.below(160, 24) / 4,
            "closedFlag": closed,
            "closedDate": as_text(moment) if closed else None,
            "approved": draw.chance(90, 26),
            "resources": ", ".join(names.MEMBERS[: draw.below(4, 27)]) or None,
            "customFields": _custom_fields(draw, 28),
            "_info": {**_info(draw, 30, entered, moment), "tasks_href": f"/service/tickets/{record_id}/tasks"},
        }

    def time_entry(self, record_id: int, rank: int, moment: int) -> Json:
        """A time entry, charged to a ticket that was there before its day where there is one."""
        draw = Draw(self._keys[TIME_ENTRIES], rank)
        hours = (1 + draw.below(31, 1)) / 4
        started = (moment - 60 * draw.below(60 * 72, 3)) // 900 * 900 - int(hours * 3600)
        entry: Json = {
            "id": record_id,
            "company": self._company(draw, 5),
            "chargeToId": self._ticket_before(draw, 7, moment),
            "chargeToType": "ServiceTicket" if draw.chance(85, 9) else "ProjectTicket",
            "member": _member(draw, 10),
            "locationId": 1 + draw.below(3, 11),
            "businessUnitId": 10 + draw.below(2, 12),
            "workType": _referred("workType", draw.of(_WORK_TYPES, 13)),
            "workRole": _referred("workRole", draw.of(_WORK_ROLES, 14)),
            "agreement": _agreement(draw, 15) if draw.chance(50, 16) else None,
            "timeStart": as_text(started),
            "timeEnd": as_text(started + int(hours * 3600)),
            "actualHours": hours,
            "billableOption": draw.of(_BILLABLE, 17),
            "notes": draw.of(names.NOTES, 18) if draw.chance(90, 19) else None,
            "hourlyRate": 90 + draw.below(12, 20) * 7.5,
            "enteredBy": draw.of(names.MEMBERS, 10),
            "dateEntered": as_text(started + int(hours * 3600)),
            "customFields": _custom_fields(draw, 28),
            "_info": _info(draw, 30, started, moment),
        }
        return {**entry, "hoursDeduct": 0.25 * draw.below(3, 22)} if draw.chance(30, 23) else entry

    def company(self, record_id: int, rank: int, moment: int) -> Json:
        """A company."""
        draw = Draw(self._keys[COMPANIES], rank)
        city, state = draw.of(names.CITIES, 1)
        name = _company_name(draw, record_id)
        types = [_referred("type", kind) for kind in _COMPANY_TYPES[: draw.below(3, 3)]]
        return {
            "id": record_id,
            "identifier": _identifier(name),
            "name": name,
            "status": {"id": 1, "name": "Active"} if draw.chance(85, 5) else {"id": 2, "name": "Not-Active"},
            "addressLine1": draw.of(names.STREETS, 6),
            "addressLine2": None,
            "city": city,
            "state": state or None,
            "zip": f"{draw.below(65000, 7):05d}",
            "country": {"id": 1, "name": "United States"} if state == "FL" else {},
            "phoneNumber": f"555{draw.below(10000, 9):04d}" if draw.chance(80, 11) else "",
            "website": f"https://www.example.com/{record_id}" if draw.chance(50, 12) else None,
            "annualRevenue": draw.below(50000, 13) * 100.0,
            "numberOfEmployees": draw.below(900, 15) if draw.chance(70, 17) else None,
            "leadFlag": draw.chance(10, 18),
            "deletedFlag": draw.chance(2, 19),
            "types": types,
            "customFields": _custom_fields(draw, 28),
            "_info": _info(draw, 30, moment - DAY * draw.below(300, 20), moment),
        }

    def contact(self, record_id: int, rank: int, moment: int) -> Json:
        """A contact."""
        draw = Draw(self._keys[CONTACTS], rank)
        city, state = draw.of(names.CITIES, 5)
        return {
            "id": record_id,
            "firstName": draw.of(names.GIVEN, 1),
            "lastName": draw.of(names.FAMILY, 2) if draw.chance(95, 6) else None,
            "company": self._company(draw, 3) if draw.chance(95, 7) else None,
            "title": draw.of(("Manager", "Chief «IT» Officer", "Accountant", "Owner"), 8)
            if draw.chance(60, 9)
            else None,
            "addressLine1": draw.of(names.STREETS, 10),
            "city": city,
            "state": state or None,
            "inactiveFlag": draw.chance(12, 11),
            "marriedFlag": draw.chance(40, 12),
            "birthDay": as_text(moment - DAY * (9000 + draw.below(9000, 13))) if draw.chance(20, 15) else None,
            "defaultPhoneNbr": f"+1 (555) 01{draw.below(100, 16):02d}",
            "communicationItems": _communication(draw, 18, record_id),
            "types": [{"id": 4, "name": "Décideur"}] if draw.chance(25, 20) else [],
            "relationship": {},
            "customFields": _custom_fields(draw, 28),
            "_info": _info(draw, 30, moment - DAY * draw.below(300, 21), moment),
        }

    def _early(self, timeline: Timeline) -> int:
        first = timeline.moment(0)
        return min(2000, timeline.rank_at(first + _REFERRED_DAYS * DAY)) if timeline.total else 0

    def _company(self, draw: Draw, position: int) -> Json | None:
        early = self._referred[COMPANIES]
        return self._company_of(draw.below(early, position)) if early else None

    def _contact(self, draw: Draw, position: int) -> Json | None:
        early = self._referred[CONTACTS]
        return self._contact_of(draw.below(early, position)) if early and not draw.chance(15, 0) else None

    def _company_reference(self, rank: int) -> Json:
        record_id = self._timelines[COMPANIES].record_id(rank)
        name = _company_name(Draw(self._keys[COMPANIES], rank), record_id)
        href = {"company_href": f"/company/companies/{record_id}"}
        return {"id": record_id, "identifier": _identifier(name), "name": name, "_info": href}

    def _contact_reference(self, rank: int) -> Json:
        record_id, draw = self._timelines[CONTACTS].record_id(rank), Draw(self._keys[CONTACTS], rank)
        name = f"{draw.of(names.GIVEN, 1)} {draw.of(names.FAMILY, 2)}"
        return {"id": record_id, "name": name, "_info": {"contact_href": f"/company/contacts/{record_id}"}}

    def _ticket_before(self, draw: Draw, position: int, moment: int) -> int | None:
        tickets = self._timelines[TICKETS]
        earlier = min(tickets.first_rank_of_day(moment), tickets.total)
        return tickets.record_id(max(0, earlier - 1 - draw.below(300, position))) if earlier else None


def stamp(record_id: int, moment: int) -> Json:
    """The fields that say which record this is and when it was last updated."""
    return {"id": record_id, "_info": {"lastUpdated": as_text(moment)}}


def _referred(kind: str, choice: tuple[int, str]) -> Json:
    number, name = choice
    return {"id": number, "name": name, "_info": {f"{kind}_href": f"/{kind}s/{number}"}}


def _member(draw: Draw, position: int) -> Json:
    identifier = draw.of(names.MEMBERS, position)
    number = 100 + names.MEMBERS.index(identifier)
    return {"id": number, "identifier": identifier, "name": f"{identifier[0]}. {identifier[1:]}"}


def _agreement(draw: Draw, position: int) -> Json:
    number = 1 + draw.below(40, position)
    return {"id": number, "name": f"Managed Services #{number}", "type": "Managed"}


def _company_name(draw: Draw, record_id: int) -> str:
    return f"{draw.of(names.COMPANIES, 22)}{draw.of(names.SUFFIXES, 23)} {record_id % 1000:03d}"


def _identifier(name: str) -> str:
    return "".join(letter for letter in name if letter.isalnum())[:25]


def _communication(draw: Draw, position: int, record_id: int) -> list[Json]:
    email = {"id": record_id * 2, "type": {"id": 1, "name": "Email"}, "value": f"contact{record_id}@example.com"}
    return [{**email, "defaultFlag": True}] if draw.chance(70, position) else []


def _custom_fields(draw: Draw, position: int) -> list[Json]:
    if draw.chance(60, position):
        return []
    value = draw.of(("Gold", "Silver", None, 'say "hi"', 42, True), position + 1)
    return [{"id": 3, "caption": "Service Level", "type": "Text", "entryMethod": "EntryField", "value": value}]


def _info(draw: Draw, position: int, entered: int, moment: int) -> Json:
    return {
        "lastUpdated": as_text(moment),
        "updatedBy": draw.of(names.MEMBERS, position),
        "dateEntered": as_text(entered),
        "enteredBy": draw.of(names.MEMBERS, position + 1),
    }
