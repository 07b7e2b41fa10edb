"""What a Salesforce org holds: its tables, their columns and the pace at which it may be read.

Values only; how it is spoken to belongs to `salesforce`. Columns are declared where a type other than text matters, and
for the texts that canonical tables are made from; whatever else a record holds is kept as text.
"""

from collections.abc import Mapping

from backfill_assets.core.source import ColumnType, ServiceSpec, TableSpec

_INTEGER, _NUMBER, _STRING = ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.STRING
_BOOLEAN, _TIMESTAMP, _DATE = ColumnType.BOOLEAN, ColumnType.TIMESTAMP, ColumnType.DATE

_AUDIT = {
    "Id": _STRING,
    "IsDeleted": _BOOLEAN,
    "OwnerId": _STRING,
    "CreatedDate": _TIMESTAMP,
    "CreatedById": _STRING,
    "LastModifiedDate": _TIMESTAMP,
    "LastModifiedById": _STRING,
    "SystemModstamp": _TIMESTAMP,
    "LastActivityDate": _DATE,
    "LastViewedDate": _TIMESTAMP,
    "LastReferencedDate": _TIMESTAMP,
}


def _table(name: str, *, priority: int, columns: Mapping[str, ColumnType]) -> TableSpec:
    return TableSpec(
        name=name,
        id_field="Id",
        version_field="SystemModstamp",
        incremental_field="SystemModstamp",
        deleted_field="IsDeleted",
        priority=priority,
        columns={**columns, **_AUDIT},
    )


ACCOUNT = _table(
    "Account",
    priority=50,
    columns={
        "Name": _STRING,
        "Type": _STRING,
        "Industry": _STRING,
        "ParentId": _STRING,
        "AccountNumber": _STRING,
        "BillingStreet": _STRING,
        "BillingCity": _STRING,
        "BillingState": _STRING,
        "BillingPostalCode": _STRING,
        "BillingCountry": _STRING,
        "BillingLatitude": _NUMBER,
        "BillingLongitude": _NUMBER,
        "Phone": _STRING,
        "Website": _STRING,
        "AnnualRevenue": _NUMBER,
        "NumberOfEmployees": _INTEGER,
    },
)

CONTACT = _table(
    "Contact",
    priority=40,
    columns={
        "AccountId": _STRING,
        "FirstName": _STRING,
        "LastName": _STRING,
        "Name": _STRING,
        "Title": _STRING,
        "Department": _STRING,
        "Email": _STRING,
        "Phone": _STRING,
        "MobilePhone": _STRING,
        "MailingCity": _STRING,
        "MailingCountry": _STRING,
        "LeadSource": _STRING,
        "Birthdate": _DATE,
        "HasOptedOutOfEmail": _BOOLEAN,
        "DoNotCall": _BOOLEAN,
        "EmailBouncedDate": _TIMESTAMP,
    },
)

OPPORTUNITY = _table(
    "Opportunity",
    priority=30,
    columns={
        "AccountId": _STRING,
        "ContactId": _STRING,
        "Name": _STRING,
        "StageName": _STRING,
        "Type": _STRING,
        "LeadSource": _STRING,
        "NextStep": _STRING,
        "ForecastCategory": _STRING,
        "Amount": _NUMBER,
        "ExpectedRevenue": _NUMBER,
        "Probability": _NUMBER,
        "TotalOpportunityQuantity": _NUMBER,
        "CloseDate": _DATE,
        "IsClosed": _BOOLEAN,
        "IsWon": _BOOLEAN,
        "FiscalYear": _INTEGER,
        "FiscalQuarter": _INTEGER,
    },
)

CASE = _table(
    "Case",
    priority=20,
    columns={
        "CaseNumber": _STRING,
        "AccountId": _STRING,
        "ContactId": _STRING,
        "ParentId": _STRING,
        "Subject": _STRING,
        "Description": _STRING,
        "Status": _STRING,
        "Priority": _STRING,
        "Type": _STRING,
        "Reason": _STRING,
        "Origin": _STRING,
        "SuppliedEmail": _STRING,
        "IsClosed": _BOOLEAN,
        "IsEscalated": _BOOLEAN,
        "ClosedDate": _TIMESTAMP,
    },
)

LEAD = _table(
    "Lead",
    priority=10,
    columns={
        "FirstName": _STRING,
        "LastName": _STRING,
        "Name": _STRING,
        "Company": _STRING,
        "Title": _STRING,
        "Email": _STRING,
        "Phone": _STRING,
        "City": _STRING,
        "Country": _STRING,
        "Status": _STRING,
        "Rating": _STRING,
        "Industry": _STRING,
        "LeadSource": _STRING,
        "AnnualRevenue": _NUMBER,
        "NumberOfEmployees": _INTEGER,
        "IsConverted": _BOOLEAN,
        "ConvertedDate": _DATE,
        "ConvertedAccountId": _STRING,
        "IsUnreadByOwner": _BOOLEAN,
    },
)

SALESFORCE = ServiceSpec(
    name="salesforce",
    tables=(ACCOUNT, CONTACT, OPPORTUNITY, CASE, LEAD),
    credential_fields=("client_id", "client_secret", "username", "password"),
    optional_credential_fields=("security_token",),
    optional_together=("username", "password"),
    address_field="instance_url",
    lookback_days=1095,
    chunk_size_days=7,
    chunks_per_run=26,
    requests_per_minute=1000,
    bulk_above_rows=20_000,
    page_size=2000,
    max_page_size=2000,
)
