"""The records of Salesforce: accounts, contacts, opportunities, cases and leads, in Salesforce's own shapes.

Here belongs what is in the fields. Which fields there are belongs to `schema.py`; how they are asked for, to `api.py`.
"""

from collections.abc import Mapping

from backfill_assets.sandbox import names
from backfill_assets.sandbox.dataset import DAY, Timeline
from backfill_assets.sandbox.draw import Draw, key_of
from backfill_assets.sandbox.salesforce.schema import ACCOUNT, CASE, CONTACT, LEAD, OBJECTS, OPPORTUNITY, as_time
from backfill_assets.sandbox.selection import Json

SHARES: Mapping[str, float] = {CASE: 0.35, CONTACT: 0.2, OPPORTUNITY: 0.2, LEAD: 0.15, ACCOUNT: 0.1}
"""Each object's part of a tenant's records."""

TYPED_FIELDS: Mapping[str, str] = {
    ACCOUNT: "AnnualRevenue",
    CONTACT: "HasOptedOutOfEmail",
    OPPORTUNITY: "IsClosed",
    CASE: "IsClosed",
    LEAD: "IsConverted",
}
"""The field of each object that a malformed record holds nonsense in."""

_ONE_IN = 50
"""One of so many records is deleted."""
_REFERRED_DAYS = 90
"""References lead to records of the first days, which exist whatever `until` is."""
_STAGES = ("Prospecting", "Qualification", "Proposal/Price Quote", "Closed Won", "Closed Lost")
_STATUSES = ("New", "Working", "Escalated", "Closed")


class Records:
    """Makes the records of one tenant; the objects' timelines say which others a record may refer to."""

    def __init__(self, key: str, timelines: Mapping[str, Timeline]) -> None:
        self._timelines = timelines
        self._keys = {name: key_of(f"{key}/{name}") for name in timelines}
        self._ids = {name: OBJECTS[name].ids for name in timelines}
        self._early = {name: _early(timelines[name]) for name in timelines}

    def is_gone(self, name: str, rank: int) -> bool:
        """Whether the record of this rank is deleted from the start; one that is added later is not."""
        return rank < self._timelines[name].capacity and rank % _ONE_IN == self._keys[name][0] % _ONE_IN

    def account(self, record_id: int, rank: int, moment: int) -> Json:
        """An account."""
        draw = Draw(self._keys[ACCOUNT], rank)
        return {
            **self._record(ACCOUNT, draw, record_id, rank, moment),
            "Name": f"{draw.of(names.COMPANIES, 10)}{draw.of(names.SUFFIXES, 11)} {record_id % 1000:03d}",
            "Type": draw.of(("Customer", "Prospect", "Partner", None), 12),
            **_address("BillingAddress", "Billing", draw, 13),
            "Phone": _phone(draw, 17),
            "Website": f"https://www.example.com/{record_id}" if draw.chance(50, 18) else None,
            "Industry": draw.of(("Banking", "Education", "Food & Beverage", None), 19),
            "AnnualRevenue": draw.below(50_000, 20) * 100.0 if draw.chance(80, 22) else None,
            "NumberOfEmployees": draw.below(900, 23) if draw.chance(70, 25) else None,
            "Description": draw.of(names.NOTES, 26) or None,
        }

    def contact(self, record_id: int, rank: int, moment: int) -> Json:
        """A contact."""
        draw = Draw(self._keys[CONTACT], rank)
        born = as_time(moment - DAY * (9000 + draw.below(9000, 20)))[:10]
        return {
            **self._record(CONTACT, draw, record_id, rank, moment),
            "AccountId": self._reference(ACCOUNT, draw, 10),
            **_person(draw, 12, record_id),
            **_address("MailingAddress", "Mailing", draw, 14),
            "Phone": _phone(draw, 18),
            "Title": draw.of(("Manager", "Chief «IT» Officer", "Owner", None), 19),
            "Birthdate": born if draw.chance(40, 22) else None,
            "HasOptedOutOfEmail": draw.chance(15, 23),
        }

    def opportunity(self, record_id: int, rank: int, moment: int) -> Json:
        """An opportunity."""
        draw = Draw(self._keys[OPPORTUNITY], rank)
        stage = draw.of(_STAGES, 12)
        return {
            **self._record(OPPORTUNITY, draw, record_id, rank, moment),
            "AccountId": self._reference(ACCOUNT, draw, 10),
            "Name": f"{draw.of(names.COMPANIES, 13)} - {draw.of(names.PLACES, 14)}",
            "StageName": stage,
            "Amount": draw.below(60_000, 15) / 4 if draw.chance(85, 17) else None,
            "Probability": 10.0 * draw.below(11, 18),
            "CloseDate": as_time(moment + DAY * draw.below(120, 20))[:10],
            "IsClosed": stage.startswith("Closed"),
            "IsWon": stage == "Closed Won",
            "Description": draw.of(names.NOTES, 22) or None,
        }

    def case(self, record_id: int, rank: int, moment: int) -> Json:
        """A case."""
        draw = Draw(self._keys[CASE], rank)
        status = draw.of(_STATUSES, 14)
        return {
            **self._record(CASE, draw, record_id, rank, moment),
            "CaseNumber": f"{record_id:08d}",
            "AccountId": self._reference(ACCOUNT, draw, 10),
            "ContactId": self._reference(CONTACT, draw, 12) if draw.chance(90, 15) else None,
            "Subject": f"{draw.of(names.SUMMARIES, 16)} ({draw.of(names.PLACES, 17)})",
            "Description": draw.of(names.NOTES, 18) or None,
            "Status": status,
            "Priority": draw.of(("High", "Medium", "Low"), 19),
            "Origin": draw.of(("Phone", "Email", "Web", None), 20),
            "IsClosed": status == "Closed",
            "ClosedDate": as_time(moment) if status == "Closed" else None,
        }

    def lead(self, record_id: int, rank: int, moment: int) -> Json:
        """A lead."""
        draw = Draw(self._keys[LEAD], rank)
        return {
            **self._record(LEAD, draw, record_id, rank, moment),
            **_person(draw, 10, record_id),
            "Company": f"{draw.of(names.COMPANIES, 12)}{draw.of(names.SUFFIXES, 13)}",
            **_address("Address", "", draw, 14),
            "Phone": _phone(draw, 18),
            "Status": draw.of(("Open - Not Contacted", "Working - Contacted", "Closed - Converted"), 19),
            "LeadSource": draw.of(("Web", "Phone Inquiry", "Purchased List", None), 20),
            "IsConverted": draw.chance(20, 21),
            "NumberOfEmployees": draw.below(900, 22) if draw.chance(50, 24) else None,
        }

    def stamp(self, name: str, record_id: int, moment: int) -> Json:
        """The fields that say which record this is and when it was last updated."""
        updated = as_time(moment)
        return {"Id": self._ids[name].write(record_id), "LastModifiedDate": updated, "SystemModstamp": updated}

    def _record(self, name: str, draw: Draw, record_id: int, rank: int, moment: int) -> Json:
        return {
            **self.stamp(name, record_id, moment),
            "IsDeleted": self.is_gone(name, rank),
            "OwnerId": _user(draw, 0),
            "CreatedDate": as_time(moment - 60 * draw.below(60_000, 2)),
            "CreatedById": _user(draw, 4),
            "LastModifiedById": _user(draw, 6),
        }

    def _reference(self, name: str, draw: Draw, position: int) -> str | None:
        early = self._early[name]
        if not early:
            return None
        return self._ids[name].write(self._timelines[name].record_id(draw.below(early, position)))


def _early(timeline: Timeline) -> int:
    first = timeline.moment(0)
    return min(2000, timeline.rank_at(first + _REFERRED_DAYS * DAY)) if timeline.total else 0


def _user(draw: Draw, position: int) -> str:
    return f"0055f00000{draw.below(8, position):05d}AAA"


def _person(draw: Draw, position: int, record_id: int) -> Json:
    given, family = draw.of(names.GIVEN, position), draw.of(names.FAMILY, position + 1)
    return {
        "FirstName": given,
        "LastName": family,
        "Name": f"{given} {family}",
        "Email": f"person{record_id}@example.com" if record_id % 10 else None,
    }


def _phone(draw: Draw, position: int) -> str | None:
    return f"(555) 01{draw.below(100, position):02d}" if draw.chance(80, position) else None


def _address(compound: str, prefix: str, draw: Draw, position: int) -> Json:
    city, state = draw.of(names.CITIES, position)
    parts = {
        "Street": draw.of(names.STREETS, position + 1),
        "City": city,
        "State": state or None,
        "PostalCode": f"{draw.below(65_000, position + 2):05d}",
        "Country": "United States" if state == "FL" else None,
    }
    whole = {name[0].lower() + name[1:]: value for name, value in parts.items()}
    return {
        **{f"{prefix}{name}": value for name, value in parts.items()},
        compound: {**whole, "geocodeAccuracy": None, "latitude": None, "longitude": None},
    }
