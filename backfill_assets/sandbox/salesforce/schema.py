"""The objects of a Salesforce organisation: their fields and types, and how their ids and times are written.

Here belongs what `describe` tells. What is in the fields belongs to `records.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from string import ascii_lowercase, ascii_uppercase, digits

from backfill_assets.sandbox.ids import Texts

ACCOUNT, CONTACT, OPPORTUNITY, CASE, LEAD = "Account", "Contact", "Opportunity", "Case", "Lead"

_ALPHABET = digits + ascii_uppercase + ascii_lowercase
_CHECKS = ascii_uppercase + "012345"
_NUMBER_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class Field:
    """One field; `compound` is the address that it is a part of."""

    name: str
    type: str = "string"
    compound: str | None = None
    target: str | None = None


@dataclass(frozen=True, kw_only=True)
class SObject:
    """One kind of record; its ids begin with `prefix`."""

    name: str
    prefix: str
    fields: Mapping[str, Field]

    def field(self, name: str) -> Field | None:
        """The field with this name, whose case does not matter, or None."""
        return self.fields.get(name.casefold())

    @property
    def ids(self) -> Texts:
        """Ids of 18 characters, the greater the later counted."""
        return Texts(write=lambda number: _id(self.prefix, number), limit=len(_ALPHABET) ** _NUMBER_DIGITS)


def as_time(moment: float) -> str:
    """A moment as Salesforce writes it in JSON: `2024-01-07T00:00:00.000+0000`."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def whole_id(text: str) -> str:
    """An id of 15 characters with the 3 that check it; any other text as it is."""
    return text + _check(text) if len(text) == 15 and text.isascii() and text.isalnum() else text


def _id(prefix: str, number: int) -> str:
    written = ""
    for _ in range(_NUMBER_DIGITS):
        number, digit = divmod(number, len(_ALPHABET))
        written = _ALPHABET[digit] + written
    return whole_id(f"{prefix}5f0000{written}")


def _check(text: str) -> str:
    """Three characters that say which of the others are upper case, so that the id survives software that forgets."""
    parts = (text[start : start + 5] for start in (0, 5, 10))
    return "".join(_CHECKS[sum(letter.isupper() << place for place, letter in enumerate(part))] for part in parts)


def _address(compound: str, prefix: str) -> list[Field]:
    parts = [Field(name=f"{prefix}{part}", compound=compound) for part in ("City", "State", "PostalCode", "Country")]
    street = Field(name=f"{prefix}Street", type="textarea", compound=compound)
    return [street, *parts, Field(name=compound, type="address")]


def _object(name: str, prefix: str, fields: list[Field]) -> SObject:
    around = [
        Field(name="Id", type="id"),
        Field(name="IsDeleted", type="boolean"),
        *fields,
        Field(name="OwnerId", type="reference", target="User"),
        Field(name="CreatedDate", type="datetime"),
        Field(name="CreatedById", type="reference", target="User"),
        Field(name="LastModifiedDate", type="datetime"),
        Field(name="LastModifiedById", type="reference", target="User"),
        Field(name="SystemModstamp", type="datetime"),
    ]
    return SObject(name=name, prefix=prefix, fields={field.name.casefold(): field for field in around})


_PERSON = [Field(name="FirstName"), Field(name="LastName"), Field(name="Name"), Field(name="Email", type="email")]
_OF_ACCOUNT = Field(name="AccountId", type="reference", target=ACCOUNT)

OBJECTS: Mapping[str, SObject] = {
    ACCOUNT: _object(
        ACCOUNT,
        "001",
        [
            Field(name="Name"),
            Field(name="Type", type="picklist"),
            *_address("BillingAddress", "Billing"),
            Field(name="Phone", type="phone"),
            Field(name="Website", type="url"),
            Field(name="Industry", type="picklist"),
            Field(name="AnnualRevenue", type="currency"),
            Field(name="NumberOfEmployees", type="int"),
            Field(name="Description", type="textarea"),
        ],
    ),
    CONTACT: _object(
        CONTACT,
        "003",
        [
            _OF_ACCOUNT,
            *_PERSON,
            *_address("MailingAddress", "Mailing"),
            Field(name="Phone", type="phone"),
            Field(name="Title"),
            Field(name="Birthdate", type="date"),
            Field(name="HasOptedOutOfEmail", type="boolean"),
        ],
    ),
    OPPORTUNITY: _object(
        OPPORTUNITY,
        "006",
        [
            _OF_ACCOUNT,
            Field(name="Name"),
            Field(name="StageName", type="picklist"),
            Field(name="Amount", type="currency"),
            Field(name="Probability", type="percent"),
            Field(name="CloseDate", type="date"),
            Field(name="IsClosed", type="boolean"),
            Field(name="IsWon", type="boolean"),
            Field(name="Description", type="textarea"),
        ],
    ),
    CASE: _object(
        CASE,
        "500",
        [
            Field(name="CaseNumber"),
            _OF_ACCOUNT,
            Field(name="ContactId", type="reference", target=CONTACT),
            Field(name="Subject"),
            Field(name="Description", type="textarea"),
            Field(name="Status", type="picklist"),
            Field(name="Priority", type="picklist"),
            Field(name="Origin", type="picklist"),
            Field(name="IsClosed", type="boolean"),
            Field(name="ClosedDate", type="datetime"),
        ],
    ),
    LEAD: _object(
        LEAD,
        "00Q",
        [
            *_PERSON,
            Field(name="Company"),
            *_address("Address", ""),
            Field(name="Phone", type="phone"),
            Field(name="Status", type="picklist"),
            Field(name="LeadSource", type="picklist"),
            Field(name="IsConverted", type="boolean"),
            Field(name="NumberOfEmployees", type="int"),
        ],
    ),
}
