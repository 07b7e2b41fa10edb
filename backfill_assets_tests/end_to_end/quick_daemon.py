"""Dagster's own daemon, which looks for work in backfills every 2 seconds instead of every 30, and keeps hours every 5.

Only the pauses are others; without them, each backfill of a test would wait up to a minute for nothing.
"""

from typing import Any

from dagster._daemon import controller, sensor
from dagster._daemon.cli import main

SECONDS = 2
HASTY = "backfill_hours"
"""The sensor that is evaluated as often as the daemon comes around."""

_is_under_min_interval = sensor.is_under_min_interval


def is_under_min_interval(state: Any, remote_sensor: Any, *more: Any) -> bool:
    """Whether it is too early to evaluate a sensor again."""
    return remote_sensor.name != HASTY and _is_under_min_interval(state, remote_sensor, *more)


if __name__ == "__main__":
    vars(controller)["DEFAULT_DAEMON_INTERVAL_SECONDS"] = SECONDS
    vars(sensor)["is_under_min_interval"] = is_under_min_interval
    main()
