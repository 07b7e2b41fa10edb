"""Puts runs into the queue with the tags that the limits in `dagster.yaml` count.

Here belongs whose run it is, told from its assets and partitions: a backfill that was launched in the UI carries no tag
of ours. How many may run at once belongs to `dagster.yaml`, which of them comes next to Dagster's daemon.
"""

import logging
from collections.abc import Mapping

from dagster import DagsterInstance, DagsterRun
from dagster._core.run_coordinator.base import SubmitRunContext
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    PARTITION_NAME_TAG,
)

from backfill_assets.adapters.rest.registry import connectors
from backfill_assets.launching import DOMAIN_TAG, HISTORY, SERVICE_TAG, SYNC, TENANT_TAG
from backfill_assets.table_backfill.runs import TAGS, is_of_a_job
from backfill_assets.tenant_history.partitions import service_of, tenant_of

_log = logging.getLogger(__name__)

SLOT_TAG, SHARED = "backfill/slot", "shared"
"""On every run but those of incremental sync, which are let into the slot that is left."""

HISTORY_OF_TAG = "backfill/history_of"
"""The tenant, on runs of its history only: its sync must not wait for them."""


class TaggingRunCoordinator(QueuedRunCoordinator[DagsterInstance]):
    """The queue, with tags added to what comes in; a tag that a run has already is left alone."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        """Tag the run and queue it; one that cannot be tagged is queued without tags."""
        run = context.dagster_run
        try:
            self._instance.add_run_tags(run.run_id, missing_tags(run))
        except Exception:  # noqa: BLE001 - whatever it is, the run must be queued
            _log.exception("run %s is queued without the tags that limit how many run at once", run.run_id)
        return super().submit_run(context)


def missing_tags(run: DagsterRun) -> Mapping[str, str]:
    """What the run does not say by itself: whose it is, and the slots it takes."""
    tags = {**_whose(run), **run.tags}
    if tags.get(DOMAIN_TAG) != SYNC:
        tags.setdefault(SLOT_TAG, SHARED)
    if tags.get(DOMAIN_TAG) == HISTORY and TENANT_TAG in tags:
        tags.setdefault(HISTORY_OF_TAG, tags[TENANT_TAG])
    return {name: value for name, value in tags.items() if name not in run.tags}


def _whose(run: DagsterRun) -> Mapping[str, str]:
    if is_of_a_job(run):
        return TAGS
    services = {service_of(asset) for asset in run.asset_selection or ()}
    if len(services) != 1 or not services <= connectors().keys():
        return {}
    tenant = _tenant(run.tags)
    return {DOMAIN_TAG: HISTORY, SERVICE_TAG: services.pop(), **({TENANT_TAG: tenant} if tenant else {})}


def _tenant(tags: Mapping[str, str]) -> str | None:
    """The one tenant whose partitions the run covers; None where there are several, or no partitions."""
    keys = {
        tags[name]
        for name in (PARTITION_NAME_TAG, ASSET_PARTITION_RANGE_START_TAG, ASSET_PARTITION_RANGE_END_TAG)
        if name in tags
    }
    tenants = {tenant_of(key) for key in keys}
    return tenants.pop() if len(tenants) == 1 else None
