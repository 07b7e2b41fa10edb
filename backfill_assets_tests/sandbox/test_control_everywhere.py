"""Changed records of services whose ids are texts: every way of reading and the truth agree."""

import httpx

from backfill_assets_tests.sandbox.instance import BY_TIME, Instance, between, in_time
from backfill_assets_tests.sandbox.organisation import Organisation, pairs, within

OLD = ("2024-01-01", "2024-02-01")
NEW = ("2025-06-01", "2025-06-08")
MOVED_TO = "2025-06-03T10:20:30Z"
IN_NEW = within(*(f"{day}T00:00:00Z" for day in NEW))
IN_OLD = within(*(f"{day}T00:00:00Z" for day in OLD))


def agree(instance: Instance, start: str, end: str) -> bool:
    truth = in_time(instance.truth("incident", start, end))
    query = between(start, end)
    return (
        instance.by_keyset("incident", start, end, size=9)
        == instance.by_offset("incident", f"{query}^{BY_TIME}", size=11)
        == truth
    ) and instance.count("incident", query) == len(truth)


def all_agree(organisation: Organisation, condition: str, start: str, end: str) -> bool:
    soql = f"SELECT Id, SystemModstamp FROM Case WHERE {condition} ORDER BY SystemModstamp, Id"
    count = f"SELECT COUNT() FROM Case WHERE {condition}"
    with_gone, without = (in_time(organisation.truth("Case", start, end, gone=gone)) for gone in ("1", "0"))
    return (
        pairs(organisation.records(soql, size=9)) == without
        and pairs(organisation.records(soql, size=9, path="queryAll")) == with_gone
        and organisation.count(count) == len(without)
        and organisation.count(count, "queryAll") == len(with_gone)
    )


def test_a_changed_record_of_servicenow_moves_to_its_new_range(sandbox: httpx.Client, instance: Instance) -> None:
    sys_id, _ = instance.truth("incident", *OLD)[17]
    url = f"/records/servicenow/acme/incident/{sys_id}"
    body = {"lastUpdated": MOVED_TO, "set": {"short_description": "moved"}}
    assert sandbox.put(url, json=body).json()["sys_id"] == sys_id
    assert agree(instance, *OLD)
    assert agree(instance, *NEW)
    (moved,) = instance.records("incident", f"{between(*NEW)}^short_description=moved")
    assert (moved["sys_id"], moved["sys_updated_on"]) == (sys_id, "2025-06-03 10:20:30")


def test_a_deleted_record_of_servicenow_leaves_no_trace(sandbox: httpx.Client, instance: Instance) -> None:
    sys_id, _ = instance.truth("incident", *OLD)[17]
    assert sandbox.put(f"/records/servicenow/acme/incident/{sys_id}", json={"delete": True}).status_code == 204
    assert instance.client.get(f"/table/incident/{sys_id}").status_code == 404
    assert sys_id not in dict(instance.truth("incident"))
    assert agree(instance, *OLD)


def test_a_new_record_is_added_under_an_id_or_a_number(sandbox: httpx.Client, instance: Instance) -> None:
    body = {"lastUpdated": "2024-01-15T12:00:00Z"}
    url = "/records/servicenow/acme/incident"
    made = sandbox.post(f"{url}/7000001", json=body)
    assert made.status_code == 201
    sys_id = made.json()["sys_id"]
    assert sandbox.post(f"{url}/{sys_id}", json=body).status_code == 409
    other = sys_id[:-1] + "f"
    assert sandbox.post(f"{url}/{other}", json=body).json()["sys_id"] == other
    assert {sys_id, other} < dict(instance.truth("incident", *OLD)).keys()
    assert agree(instance, *OLD)


def test_an_id_of_another_table_is_none(sandbox: httpx.Client, instance: Instance) -> None:
    (person,) = instance.records("sys_user", limit=1)
    for written in (person["sys_id"], "nonsense"):
        assert sandbox.put(f"/records/servicenow/acme/incident/{written}", json={}).status_code == 404


def test_a_changed_record_of_salesforce_moves_to_its_new_range(
    sandbox: httpx.Client, organisation: Organisation
) -> None:
    record_id, _ = organisation.truth("Case", *OLD, gone="0")[17]
    body = {"lastUpdated": MOVED_TO, "set": {"Subject": "moved"}}
    sandbox.put(f"/records/salesforce/acme/Case/{record_id}", json=body).raise_for_status()
    assert all_agree(organisation, IN_OLD, *OLD)
    assert all_agree(organisation, IN_NEW, *NEW)
    soql = f"SELECT Id, LastModifiedDate FROM Case WHERE Subject = 'moved' AND {IN_NEW}"
    (moved,) = organisation.records(soql)
    assert (moved["Id"], moved["LastModifiedDate"]) == (record_id, "2025-06-03T10:20:30.000+0000")


def test_a_deleted_record_of_salesforce_is_marked_and_as_late_as_its_deletion(
    sandbox: httpx.Client, organisation: Organisation
) -> None:
    record_id, _ = organisation.truth("Case", *OLD, gone="0")[17]
    url = f"/records/salesforce/acme/Case/{record_id}"
    assert sandbox.put(url, json={"delete": True, "lastUpdated": MOVED_TO}).status_code == 204
    assert all_agree(organisation, IN_OLD, *OLD)
    assert all_agree(organisation, IN_NEW, *NEW)
    soql = f"SELECT Id, IsDeleted FROM Case WHERE Id = '{record_id}'"
    assert organisation.records(soql) == []
    (gone,) = organisation.records(soql, path="queryAll")
    assert gone["IsDeleted"] is True
    sandbox.put(url, json={"set": {"IsDeleted": False}}).raise_for_status()
    assert len(organisation.records(soql)) == 1


def test_a_new_record_of_salesforce_is_not_deleted(sandbox: httpx.Client, organisation: Organisation) -> None:
    for number in range(8_000_000, 8_000_060):
        made = sandbox.post(f"/records/salesforce/acme/Case/{number}", json={"lastUpdated": MOVED_TO})
        assert made.json()["IsDeleted"] is False
    assert all_agree(organisation, IN_NEW, *NEW)


def test_the_summary_of_the_truth_is_told_for_texts_too(sandbox: httpx.Client, organisation: Organisation) -> None:
    parameters = {"from": OLD[0], "to": OLD[1], "summary": "1"}
    told = sandbox.get("/truth/salesforce/acme/Case", params=parameters).json()
    assert told["count"] == len(organisation.truth("Case", *OLD))
    assert len(told["digest"]) == 64


def test_the_log_shows_what_was_asked_of_each_service(
    sandbox: httpx.Client, organisation: Organisation, instance: Instance
) -> None:
    sandbox.delete("/requests").raise_for_status()
    instance.count("incident")
    instance.get("unicorn")
    organisation.get("query", q="SELECT Id FROM Case LIMIT 1")
    organisation.get("query", q="SELECT COUNT() FROM Case")
    organisation.get("query", q="nonsense")
    organisation.sign_in()
    assert sandbox.get("/requests").json()["counts"] == {
        "salesforce/acme/Case": 1,
        "salesforce/acme/Case/count": 1,
        "salesforce/acme/oauth2/token": 1,
        "salesforce/acme/unknown": 1,
        "servicenow/acme/incident/count": 1,
        "servicenow/acme/unknown": 1,
    }
