"""Dagster's own daemon, which looks for work in backfills every 2 seconds instead of every 30.

Only the pause is another; without it, each backfill of a test would wait up to a minute for nothing.
"""

from dagster._daemon import controller
from dagster._daemon.cli import main

SECONDS = 2

if __name__ == "__main__":
    vars(controller)["DEFAULT_DAEMON_INTERVAL_SECONDS"] = SECONDS
    main()
