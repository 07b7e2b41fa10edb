"""An existing `backfill_config.json` loads unchanged."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from backfill_assets.adapters.rest.registry import BUILT_IN
from backfill_assets.core.source import TableSpec
from backfill_assets.settings import load_settings
from backfill_assets_tests.configuration.settings_under_test import DESK, Files

CONNECTWISE = replace(
    DESK,
    name="connectwise",
    lookback_days=100,
    chunk_size_days=5,
    requests_per_minute=10,
    tables=tuple(
        TableSpec(name=name, version_field="v", incremental_field="v", priority=priority)
        for name, priority in (("company/companies", 40), ("service/tickets", 3), ("time/entries", 2), ("extra", 50))
    ),
)

FROM_THE_SPEC: dict[str, Any] = {
    "service_settings": {
        "connectwise": {
            "default_lookback_days": 730,
            "chunk_size_days": 30,
            "rate_limit_requests_per_minute": 200,
            "priority_endpoints": ["service/tickets", "time/entries"],
        },
        "servicenow": {
            "default_lookback_days": 365,
            "chunk_size_days": 14,
            "rate_limit_requests_per_minute": 100,
        },
    }
}

COMPLETE: dict[str, Any] = {
    "default_settings": {"chunk_size_days": 30, "max_concurrent_jobs": 5, "retry_attempts": 3, "timeout_hours": 24},
    "service_settings": {
        "connectwise": {
            "default_lookback_days": 730,
            "chunk_size_days": 28,
            "rate_limit_requests_per_minute": 200,
            "priority_endpoints": ["service/tickets", "time/entries", "company/companies", "company/contacts"],
            "optional_endpoints": ["procurement/products", "finance/agreements"],
            "master_data_endpoints": ["company/companies", "company/contacts"],
            "transactional_data_endpoints": ["service/tickets", "time/entries"],
        },
        "servicenow": {
            "default_lookback_days": 365,
            "chunk_size_days": 14,
            "rate_limit_requests_per_minute": 100,
            "priority_endpoints": ["incident", "change_request", "problem", "user"],
        },
        "salesforce": {
            "default_lookback_days": 1095,
            "chunk_size_days": 7,
            "rate_limit_requests_per_minute": 1000,
            "priority_endpoints": ["Account", "Contact", "Opportunity", "Case", "Lead"],
        },
    },
    "tenant_overrides": {"{tenant_id}": {"connectwise": {"default_lookback_days": 365, "chunk_size_days": 7}}},
    "scheduling": {
        "auto_detect_frequency_minutes": 60,
        "max_parallel_tenants": 3,
        "backfill_window_hours": {"start": 22, "end": 6},
    },
    "monitoring": {
        "progress_update_frequency_chunks": 10,
        "alert_on_failure_threshold": 3,
        "max_execution_time_hours": 24,
        "cleanup_completed_jobs_after_days": 30,
    },
}


_CLIENTLESS = "the settings of {} were not read: this version has no client for it"


class Existing(Files):
    """Loads a `backfill_config.json`."""

    def load(self, **said: Any) -> Any:
        """As the files would, with the service that such a file speaks of."""
        return super().load(**{"services_name": "backfill_config.json", "builtin": {"connectwise": CONNECTWISE}} | said)


@pytest.fixture
def files(tmp_path: Path) -> Existing:
    return Existing(folder=tmp_path)


def _priorities(settings: Any) -> dict[str, int]:
    return {table.name: table.priority for table in settings.services["connectwise"].tables}


def test_the_example_of_the_spec_loads_unchanged(files: Existing) -> None:
    settings = files.load(services=FROM_THE_SPEC)
    connectwise = settings.services["connectwise"]
    assert (connectwise.lookback_days, connectwise.chunk_size_days, connectwise.requests_per_minute) == (730, 30, 200)
    assert settings.notes == (f"backfill_config.json: {_CLIENTLESS.format('servicenow')}",)


def test_a_complete_file_loads_unchanged_and_says_what_it_did_not_use(files: Existing) -> None:
    settings = files.load(services=COMPLETE)
    connectwise = settings.services["connectwise"]
    assert (connectwise.chunk_size_days, str(connectwise.backfill_hours)) == (28, "22:00-06:00")
    where = "service_settings.connectwise"
    assert settings.notes == (
        (
            "backfill_config.json: scheduling.backfill_window_hours (22:00-06:00), which nothing read before, is in "
            "force now: history is read only in these hours of each tenant's time_zone; remove it to read around the "
            "clock"
        ),
        (
            "backfill_config.json: this version has no use for monitoring, default_settings.max_concurrent_jobs, "
            "default_settings.retry_attempts, scheduling.auto_detect_frequency_minutes, "
            f"scheduling.max_parallel_tenants, {where}.optional_endpoints, {where}.master_data_endpoints, "
            f"{where}.transactional_data_endpoints"
        ),
        (
            "backfill_config.json: service_settings.connectwise.priority_endpoints: 'company/contacts' is not a known "
            "table and is not read"
        ),
        f"backfill_config.json: {_CLIENTLESS.format('servicenow')}",
        f"backfill_config.json: {_CLIENTLESS.format('salesforce')}",
        "backfill_config.json: tenant_overrides.'{tenant_id}' was not read: BACKFILL_TENANTS_FILE has no such tenant",
    )


def test_priority_endpoints_come_first_in_their_order(files: Existing) -> None:
    priorities = _priorities(files.load(services=FROM_THE_SPEC))
    in_order = sorted(priorities, key=lambda name: -priorities[name])
    assert in_order == ["service/tickets", "time/entries", "extra", "company/companies"]
    assert priorities["company/companies"] == 40


def test_the_default_chunk_size_is_for_services_that_say_none_of_their_own(files: Existing) -> None:
    silent = files.load(services={"default_settings": {"chunk_size_days": 9}})
    assert silent.services["connectwise"].chunk_size_days == 9
    spoken = {"default_settings": {"chunk_size_days": 9}, "service_settings": {"connectwise": {"chunk_size_days": 8}}}
    assert files.load(services=spoken).services["connectwise"].chunk_size_days == 8
    partly = {
        "default_settings": {"chunk_size_days": 9},
        "service_settings": {"connectwise": {"default_lookback_days": 8}},
    }
    assert files.load(services=partly).services["connectwise"].chunk_size_days == 9
    assert files.load(services={"monitoring": {}}).services["connectwise"].chunk_size_days == 5


def _tenants(**connectwise: Any) -> dict[str, Any]:
    return {"tenants": {"acme": {"services": {"connectwise": connectwise}}}}


def _with_override(**override: Any) -> dict[str, Any]:
    return {"tenant_overrides": {"acme": {"connectwise": override}}}


def test_a_tenants_override_counts_and_the_tenants_file_may_repeat_it(files: Existing) -> None:
    said = _with_override(default_lookback_days=50, chunk_size_days=3)
    settings = files.load(services=said, tenants=_tenants(chunk_size_days=3))
    spec = settings.tenants["acme"].services["connectwise"].spec
    assert (spec.lookback_days, spec.chunk_size_days) == (50, 3)
    assert settings.notes == ()


def test_an_override_that_contradicts_the_tenants_file_is_refused(files: Existing) -> None:
    sentences = files.refusal(services=_with_override(default_lookback_days=50), tenants=_tenants(lookback_days=60))
    assert sentences == [
        (
            "tenants.yaml: tenants.acme.services.connectwise.lookback_days (60) and backfill_config.json: "
            "tenant_overrides.acme.connectwise.default_lookback_days (50) contradict each other; remove one of them"
        )
    ]


def test_keys_that_are_not_known_become_notes(files: Existing) -> None:
    said = {
        "scheduling": {"color": "blue"},
        "comment": "ours",
        "service_settings": {"connectwise": {"color": "red"}, "hubspot": {"x": 1}},
        "tenant_overrides": {"acme": {"connectwise": {"speed": 1}}},
    }
    assert files.load(services=said, tenants=_tenants()).notes == (
        "backfill_config.json: comment is not a known setting and was not read",
        "backfill_config.json: scheduling.color is not a known setting and was not read",
        "backfill_config.json: service_settings.connectwise.color is not a known setting and was not read",
        "backfill_config.json: tenant_overrides.acme.connectwise.speed is not a known setting and was not read",
        f"backfill_config.json: {_CLIENTLESS.format('hubspot')}",
    )


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        ({"default_lookback_days": "730"}, "default_lookback_days must be a positive whole number, not '730'"),
        ({"chunk_size_days": 0}, "chunk_size_days must be a positive whole number, not 0"),
        (
            {"priority_endpoints": "service/tickets"},
            "priority_endpoints must be a list of names, not 'service/tickets'",
        ),
        (
            {"default_lookback_days": 1095},
            (
                "default_lookback_days (1095) begins before service_settings.connectwise.history_start (2023-01-01); "
                "look back 899 days at most, or set an earlier history_start"
            ),
        ),
    ],
)
def test_a_known_setting_that_holds_nonsense_is_refused(
    files: Existing, section: dict[str, Any], sentence: str
) -> None:
    assert files.refusal(services={"service_settings": {"connectwise": section}}) == [
        f"backfill_config.json: service_settings.connectwise.{sentence}"
    ]


def test_history_can_be_made_to_start_earlier_in_such_a_file(files: Existing) -> None:
    section = {"default_lookback_days": 1095, "history_start": "2020-01-01"}
    settings = files.load(services={"service_settings": {"connectwise": section}})
    assert settings.services["connectwise"].history_start == date(2020, 1, 1)


def test_a_tenants_lookback_names_the_override_that_set_it(files: Existing) -> None:
    [sentence] = files.refusal(services=_with_override(default_lookback_days=950), tenants=_tenants())
    assert sentence.startswith(
        "backfill_config.json: tenant_overrides.acme.connectwise.default_lookback_days (950) begins before "
        "service_settings.connectwise.history_start (2023-01-01)"
    )


def test_the_shape_goes_by_the_keys_and_not_by_the_name(files: Existing) -> None:
    settings = files.load(services=FROM_THE_SPEC, services_name="services.yaml", tenants=_tenants())
    assert settings.services["connectwise"].lookback_days == 730


def test_a_complete_file_loads_unchanged_for_the_services_that_are_built_in(files: Existing) -> None:
    builtin = {name: connector.spec for name, connector in BUILT_IN.items()}
    settings = load_settings(
        {"BACKFILL_SERVICES_FILE": files.write("backfill_config.json", COMPLETE)},
        builtin=builtin,
        today=date(2026, 11, 24),
    )
    numbers = {
        name: (spec.lookback_days, spec.chunk_size_days, spec.requests_per_minute)
        for name, spec in settings.services.items()
    }
    assert numbers == {"connectwise": (730, 28, 200), "servicenow": (365, 14, 100), "salesforce": (1095, 7, 1000)}
    by_priority = sorted(settings.services["servicenow"].tables, key=lambda table: -table.priority)
    assert [table.name for table in by_priority[:3]] == ["incident", "change_request", "problem"]
    where = "backfill_config.json: service_settings.servicenow.priority_endpoints"
    assert f"{where}: 'user' is not a known table and is not read" in settings.notes
    assert not [note for note in settings.notes if "no client" in note]
