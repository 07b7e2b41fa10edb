"""What a ServiceNow instance holds: its tables, their columns and the pace at which it may be read.

Values only; how it is spoken to belongs to `servicenow`. Columns are declared where a type other than text matters, and
for the texts that canonical tables are made from; whatever else a record holds is kept as text. References are plain
ids. Durations stay text: ServiceNow writes them as times since 1970.
"""

from collections.abc import Mapping

from backfill_assets.core.source import ColumnType, ServiceSpec, TableSpec

_INTEGER, _NUMBER, _STRING = ColumnType.INTEGER, ColumnType.NUMBER, ColumnType.STRING
_BOOLEAN, _TIMESTAMP, _DATE = ColumnType.BOOLEAN, ColumnType.TIMESTAMP, ColumnType.DATE

_AUDIT = {
    "sys_id": _STRING,
    "sys_created_on": _TIMESTAMP,
    "sys_created_by": _STRING,
    "sys_updated_on": _TIMESTAMP,
    "sys_updated_by": _STRING,
    "sys_mod_count": _INTEGER,
}

_TASK = {
    "number": _STRING,
    "short_description": _STRING,
    "description": _STRING,
    "state": _STRING,
    "priority": _STRING,
    "impact": _STRING,
    "urgency": _STRING,
    "active": _BOOLEAN,
    "made_sla": _BOOLEAN,
    "company": _STRING,
    "assigned_to": _STRING,
    "assignment_group": _STRING,
    "opened_at": _TIMESTAMP,
    "opened_by": _STRING,
    "due_date": _TIMESTAMP,
    "closed_at": _TIMESTAMP,
    "closed_by": _STRING,
    "reassignment_count": _INTEGER,
    **_AUDIT,
}


def _table(name: str, *, priority: int, columns: Mapping[str, ColumnType]) -> TableSpec:
    return TableSpec(
        name=name,
        id_field="sys_id",
        version_field="sys_updated_on",
        incremental_field="sys_updated_on",
        priority=priority,
        columns=columns,
    )


INCIDENT = _table(
    "incident",
    priority=60,
    columns={
        "caller_id": _STRING,
        "category": _STRING,
        "subcategory": _STRING,
        "severity": _STRING,
        "contact_type": _STRING,
        "incident_state": _STRING,
        "resolved_at": _TIMESTAMP,
        "resolved_by": _STRING,
        "reopen_count": _INTEGER,
        "calendar_stc": _INTEGER,
        "business_stc": _INTEGER,
        **_TASK,
    },
)

CHANGE_REQUEST = _table(
    "change_request",
    priority=50,
    columns={
        "type": _STRING,
        "risk": _STRING,
        "category": _STRING,
        "requested_by": _STRING,
        "approval": _STRING,
        "start_date": _TIMESTAMP,
        "end_date": _TIMESTAMP,
        "work_start": _TIMESTAMP,
        "work_end": _TIMESTAMP,
        "cab_required": _BOOLEAN,
        **_TASK,
    },
)

PROBLEM = _table(
    "problem",
    priority=40,
    columns={
        "problem_state": _STRING,
        "known_error": _BOOLEAN,
        "related_incidents": _INTEGER,
        "resolved_at": _TIMESTAMP,
        "cause_notes": _STRING,
        **_TASK,
    },
)

USER = _table(
    "sys_user",
    priority=30,
    columns={
        "user_name": _STRING,
        "name": _STRING,
        "first_name": _STRING,
        "last_name": _STRING,
        "email": _STRING,
        "phone": _STRING,
        "mobile_phone": _STRING,
        "title": _STRING,
        "company": _STRING,
        "department": _STRING,
        "manager": _STRING,
        "location": _STRING,
        "active": _BOOLEAN,
        "vip": _BOOLEAN,
        "locked_out": _BOOLEAN,
        "last_login_time": _TIMESTAMP,
        "failed_attempts": _INTEGER,
        **_AUDIT,
    },
)

COMPANY = _table(
    "core_company",
    priority=20,
    columns={
        "name": _STRING,
        "street": _STRING,
        "city": _STRING,
        "state": _STRING,
        "zip": _STRING,
        "country": _STRING,
        "phone": _STRING,
        "website": _STRING,
        "parent": _STRING,
        "contact": _STRING,
        "customer": _BOOLEAN,
        "vendor": _BOOLEAN,
        "manufacturer": _BOOLEAN,
        "num_employees": _INTEGER,
        "revenue_per_year": _NUMBER,
        "latitude": _NUMBER,
        "longitude": _NUMBER,
        **_AUDIT,
    },
)

TIME_CARD = _table(
    "time_card",
    priority=10,
    columns={
        "user": _STRING,
        "task": _STRING,
        "category": _STRING,
        "state": _STRING,
        "week_starts_on": _DATE,
        "sunday": _NUMBER,
        "monday": _NUMBER,
        "tuesday": _NUMBER,
        "wednesday": _NUMBER,
        "thursday": _NUMBER,
        "friday": _NUMBER,
        "saturday": _NUMBER,
        "total": _NUMBER,
        "comments": _STRING,
        **_AUDIT,
    },
)

SERVICENOW = ServiceSpec(
    name="servicenow",
    tables=(INCIDENT, CHANGE_REQUEST, PROBLEM, USER, COMPANY, TIME_CARD),
    credential_fields=("username", "password"),
    address_field="instance_url",
    lookback_days=365,
    chunk_size_days=14,
    chunks_per_run=13,
    requests_per_minute=100,
    page_size=1000,
    max_page_size=10_000,
)
