"""The Dagster instance and the asset graph, opened for a command."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from dagster import DagsterInstance
from dagster_postgres.utils import DagsterPostgresException
from dagster_shared.check import CheckError
from dagster_shared.error import DagsterError
from sqlalchemy.exc import SQLAlchemyError

from backfill_assets.errors import ConfigurationError
from backfill_assets.following import Graph
from backfill_assets.settings import Settings


@contextmanager
def open_instance(settings: Settings) -> Iterator[DagsterInstance]:
    """The instance in DAGSTER_HOME; raises `ConfigurationError` when there is none or its storage is away."""
    home = settings.dagster_home
    if home is None or not (home / "dagster.yaml").is_file():
        raise ConfigurationError(
            "DAGSTER_HOME must be a folder that holds dagster.yaml; for the demo's instance it is .demo/dagster"
        )
    _require_readable(home / "dagster.yaml")
    try:
        with _told_once():
            instance = DagsterInstance.from_config(str(home))
    except (CheckError, DagsterError, DagsterPostgresException, SQLAlchemyError) as error:
        raise ConfigurationError(
            f"the Dagster instance in {home} cannot be opened ({type(error).__name__}); "
            "check its dagster.yaml and that BACKFILL_DAGSTER_DATABASE_URL is set and its database runs"
        ) from error
    with instance:
        yield instance


def _require_readable(file: Path) -> None:
    """Raise where Dagster, which reads the file later, would end with an error that names no file."""
    try:
        yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}," if mark else ""
        raise ConfigurationError(
            f"{file}{line} cannot be read as YAML ({type(error).__name__}); mend it, or copy the one that this "
            "program comes with"
        ) from None  # the cause quotes the file


@contextmanager
def _told_once() -> Iterator[None]:
    """Keep Dagster from printing each failed try to connect; what comes of them is told at the end."""
    root = logging.getLogger()
    root.addFilter(_is_no_try)
    try:
        yield
    finally:
        root.removeFilter(_is_no_try)


def _is_no_try(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith("Retrying failed database connection")


def asset_graph() -> Graph:
    """The graph of everything that the settings define."""
    # Deferred: building the definitions takes a second that `--help` should not.
    from backfill_assets.definitions import backfill_assets

    graph: Graph = backfill_assets().get_repository_def().asset_graph
    return graph
