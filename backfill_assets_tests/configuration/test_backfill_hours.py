"""Backfill hours and the longest time of a backfill, in every file that can set them."""

from datetime import time
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.core.opening import Hours
from backfill_assets_tests.configuration.settings_under_test import DESK, Files, acme

NIGHT = Hours(start=time(22), end=time(6))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(folder=tmp_path)


def of_acme(files: Files, **said: Any) -> Any:
    return files.load(**said).tenants["acme"].services["desk"]


@pytest.mark.parametrize(
    "said",
    [{"start": "22:00", "end": "06:00"}, {"start": 22, "end": 6}, {"start": "22:00", "end": "6:00"}],
)
def test_hours_are_times_of_day_or_whole_hours(files: Files, said: object) -> None:
    desk = files.desk(backfill_hours=said, timeout_hours=12)
    assert (desk.backfill_hours, desk.timeout_hours) == (NIGHT, 12)


def test_without_a_word_about_them_there_are_none_and_a_backfill_has_a_day(files: Files) -> None:
    desk = files.desk(page_size=5)
    assert (desk.backfill_hours, desk.timeout_hours) == (None, 24)


def test_a_tenant_has_the_services_hours_in_its_own_time_zone(files: Files) -> None:
    services = {"services": {"desk": {"backfill_hours": {"start": 22, "end": 6}}}}
    tenants = {"tenants": {"acme": {"time_zone": "Asia/Tokyo", "services": {"desk": {}}}}}
    found = of_acme(files, services=services, tenants=tenants)
    assert (found.spec.backfill_hours, found.time_zone) == (NIGHT, "Asia/Tokyo")


@pytest.mark.parametrize("off", ["off", "'off'", "false"])
def test_a_tenant_can_have_hours_of_its_own_or_none(files: Files, off: str) -> None:
    services = {"services": {"desk": {"backfill_hours": {"start": 1, "end": 2}, "timeout_hours": 3}}}
    own = acme(backfill_hours={"start": "22:00", "end": "06:00"}, timeout_hours=5)
    spec = of_acme(files, services=services, tenants=own).spec
    assert (spec.backfill_hours, spec.timeout_hours) == (NIGHT, 5)
    none = f"tenants: {{acme: {{services: {{desk: {{backfill_hours: {off}}}}}}}}}"
    spec = of_acme(files, services=services, tenants=none).spec
    assert (spec.backfill_hours, spec.timeout_hours) == (None, 3)


_NO_TIME = 'is a time like "22:00", in quotes, or a whole hour from 0 to 23'


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("night", 'must be a start and an end like {start: "22:00", end: "06:00"}, or off, not \'night\''),
        (
            {"start": 1, "stop": 2},
            'must be a start and an end like {start: "22:00", end: "06:00"}, or off, not a mapping',
        ),
        ({"start": 22, "end": "22:00"}, "begins when it ends; write off to read around the clock"),
        ({"start": 22}, f"has no end that {_NO_TIME}"),
        ({"start": 24, "end": 6}, f"has no start that {_NO_TIME}"),
        ({"start": 1320, "end": 6}, f"has no start that {_NO_TIME}"),
        ({"start": "22:60", "end": 6}, f"has no start that {_NO_TIME}"),
        ({"start": True, "end": 6}, f"has no start that {_NO_TIME}"),
    ],
)
def test_hours_that_make_no_sense_are_refused_in_both_files(files: Files, said: object, sentence: str) -> None:
    assert files.refusal(services={"services": {"desk": {"backfill_hours": said}}}) == [
        f"services.yaml: services.desk.backfill_hours {sentence}"
    ]
    assert files.refusal(tenants=acme(backfill_hours=said)) == [
        f"tenants.yaml: tenants.acme.services.desk.backfill_hours {sentence}"
    ]


def test_times_without_quotes_which_yaml_makes_numbers_of_are_refused(files: Files) -> None:
    [sentence] = files.refusal(services="services: {desk: {backfill_hours: {start: 22:00, end: 06:00}}}")
    assert sentence.endswith(f"services.desk.backfill_hours has no start that {_NO_TIME}")


def existing(files: Files, document: object, **said: Any) -> Any:
    return files.load(services=document, services_name="backfill_config.json", **said)


def test_an_existing_files_window_and_timeout_are_in_force_for_every_service(files: Files) -> None:
    window = {"backfill_window_hours": {"start": 22, "end": 6}}
    found = existing(files, {"scheduling": window, "default_settings": {"timeout_hours": 7}})
    assert (found.services["desk"].backfill_hours, found.services["desk"].timeout_hours) == (NIGHT, 7)
    [note] = found.notes
    assert note.startswith("backfill_config.json: scheduling.backfill_window_hours (22:00-06:00)")
    assert "in force now" in note
    assert "remove it to read around the clock" in note
    assert existing(files, {"scheduling": {}}).services["desk"] == DESK


def test_an_existing_files_window_that_makes_no_sense_is_refused(files: Files) -> None:
    document = {"scheduling": {"backfill_window_hours": {"start": 6, "end": 6}}}
    assert files.refusal(services=document, services_name="backfill_config.json") == [
        "backfill_config.json: scheduling.backfill_window_hours begins when it ends; write off to read around the clock"
    ]
