"""Settings of process metadata and of Celery, named as SpiffWorkflow names them.

Here belongs how their variables are read and which of them need each other; they become a part of `settings`.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from backfill_assets.configuration.domains import PROCESS_METADATA, names_domain
from backfill_assets.configuration.variables import (
    Day,
    Switch,
    absolute_path,
    from_text,
    is_on,
    one_of,
    whole_number,
)

METADATA_ENABLED = "SPIFFWORKFLOW_BACKEND_PROCESS_INSTANCE_METADATA_BACKFILL_ENABLED"
CELERY_ENABLED = "SPIFFWORKFLOW_BACKEND_CELERY_ENABLED"
CELERY_BROKER_URL = "SPIFFWORKFLOW_BACKEND_CELERY_BROKER_URL"
CELERY_RESULT_BACKEND = "SPIFFWORKFLOW_BACKEND_CELERY_RESULT_BACKEND"
PRODUCT_DATABASE = "SPIFFWORKFLOW_BACKEND_DATABASE_URI"
PROCESS_MODELS = "SPIFFWORKFLOW_BACKEND_BPMN_SPEC_ABSOLUTE_DIR"

DRIVERS = {
    "postgresql": "postgresql+psycopg2",
    "mysql": "mysql+pymysql",
    "mariadb": "mysql+pymysql",
    "sqlite": "sqlite",
}
"""The driver that we bring for each kind of database, whichever one the product uses."""


def contradictions(said: Mapping[str, str]) -> Iterator[str]:
    """A sentence for everything that process metadata lacks, where it is switched on or asked for."""
    if not is_on(said, METADATA_ENABLED):
        if names_domain(said, PROCESS_METADATA):
            yield f"BACKFILL_DOMAINS names {PROCESS_METADATA}, but {METADATA_ENABLED} is not true"
        return
    if not is_on(said, CELERY_ENABLED):
        # Word for word what the product says, so that whoever searches for it finds its usage guide.
        yield (
            f"{METADATA_ENABLED} is set to true but {CELERY_ENABLED} is set to false. "
            "The metadata backfill feature requires Celery to be enabled."
        )
    for name, what in ((PRODUCT_DATABASE, "the product's database"), (PROCESS_MODELS, "the folder of process models")):
        if name not in said:
            yield f"{METADATA_ENABLED} is set to true, but {name} is not set; it names {what}"


def _product_database(text: str) -> SecretStr:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("is not a SQLAlchemy URL like postgresql://user:password@host/database") from None
    kind = url.drivername.partition("+")[0]
    if kind not in DRIVERS:
        raise ValueError(f"cannot be a {url.drivername} database; the product runs on PostgreSQL, MySQL and SQLite")
    if kind == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise ValueError("must name a file: no other process sees a database in memory")
        url = url.set(database=str(absolute_path(str(url.database))))
    return SecretStr(url.set(drivername=DRIVERS[kind]).render_as_string(hide_password=False))


def _process_models(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _broker(text: str) -> SecretStr:
    if not re.match(r"[a-z][a-z0-9+]*://", text):
        raise ValueError("must be an address like redis://localhost")
    return SecretStr(text)


def _result_backend(known: Mapping[str, Any]) -> SecretStr | None:
    broker = known.get("celery_broker_url")
    return broker if isinstance(broker, SecretStr) and broker.get_secret_value().startswith("redis") else None


class ProcessMetadataSettings(BaseSettings):
    """What SpiffWorkflow's installation says, and what only we ask.

    `celery_result_backend` is the broker where nothing else is said and the broker can be one. `metadata_start` is the
    day from which months are shown: what is older counts into the first of them.
    """

    metadata_enabled: Switch = Field(False, validation_alias=METADATA_ENABLED)
    celery_enabled: Switch = Field(False, validation_alias=CELERY_ENABLED)
    celery_broker_url: Annotated[SecretStr, from_text(_broker)] = Field(
        SecretStr("redis://localhost"), validation_alias=CELERY_BROKER_URL
    )
    celery_result_backend: Annotated[SecretStr | None, from_text(_broker)] = Field(
        default_factory=_result_backend, validation_alias=CELERY_RESULT_BACKEND
    )
    product_database_url: Annotated[SecretStr | None, from_text(_product_database)] = Field(
        None, validation_alias=PRODUCT_DATABASE
    )
    process_models: Annotated[Path | None, from_text(_process_models)] = Field(None, validation_alias=PROCESS_MODELS)
    metadata_on_changed_path: Annotated[Literal["redo", "ignore"], one_of("redo", "ignore")] = Field(
        "redo", validation_alias="BACKFILL_METADATA_ON_CHANGED_PATH"
    )
    metadata_batch_size: Annotated[int, whole_number(1, 100_000)] = Field(
        1000, validation_alias="BACKFILL_METADATA_BATCH_SIZE"
    )
    metadata_start: Day = Field(date(2023, 1, 1), validation_alias="BACKFILL_METADATA_START_DATE")
