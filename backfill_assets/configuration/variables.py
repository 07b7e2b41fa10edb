"""The kinds of value that environment variables hold, each with the words that say what it must be.

Here belongs how one variable's text becomes a value, and which variables contradict each other. What becomes of the
values belongs to `settings`.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, SecretStr
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from backfill_assets.configuration.directory import LAST_UPDATED_TABLE, TENANT_SERVICES_TABLE
from backfill_assets.configuration.tenants import TENANTS_FILE

S3 = "s3://"
TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")

LAKE_ROOT = "BACKFILL_LAKE_ROOT"
S3_ENDPOINT_URL = "BACKFILL_S3_ENDPOINT_URL"
TENANT_SOURCE = "BACKFILL_TENANT_SOURCE"
TENANT_ENVIRONMENT = "BACKFILL_TENANT_ENVIRONMENT"


def contradictions(said: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each two variables, of those that are set, of which one makes no sense beside the other."""
    if S3_ENDPOINT_URL in said and LAKE_ROOT not in said:
        yield (
            f"{S3_ENDPOINT_URL} names a store, but {LAKE_ROOT} is not set, so the lake would be a local folder; "
            f"set {LAKE_ROOT} to s3://bucket or to that folder"
        )
    is_remote = said.get(TENANT_SOURCE) == "dynamodb"
    if is_remote and TENANTS_FILE in said:
        yield f"{TENANT_SOURCE} is dynamodb, but {TENANTS_FILE} names a file; unset one of them"
    for name in (TENANT_SERVICES_TABLE, LAST_UPDATED_TABLE, TENANT_ENVIRONMENT):
        if not is_remote and name in said:
            yield f"{name} is set, but {TENANT_SOURCE} is not dynamodb; unset {name}, or set {TENANT_SOURCE}"


def is_on(said: Mapping[str, str], name: str) -> bool:
    """Whether a switch is set to true, before it is known to be well-formed."""
    return said.get(name, "").lower() in TRUE


def from_text(parse: Callable[[str], object]) -> BeforeValidator:
    """Parse what the environment says; a value that code hands in is typed already."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def absolute_path(text: str) -> Path:
    """A path that is the same for processes in other folders."""
    return Path(os.path.expanduser(text)).absolute()


def _home(text: str) -> Path:
    path = Path(os.path.expanduser(text))
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _database_url(text: str) -> SecretStr:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("is not a SQLAlchemy URL like postgresql+psycopg2://user:password@host/database") from None
    if url.drivername not in ("postgresql", "postgresql+psycopg2", "sqlite"):
        raise ValueError(f"cannot be a {url.drivername} database; use postgresql+psycopg2:// or sqlite:///")
    if url.drivername == "sqlite" and url.database in (None, "", ":memory:"):
        raise ValueError("must name a file: no other process sees a database in memory")
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg2")
    if url.drivername == "sqlite":
        # Processes of one deployment have different current folders, and all must see the same file.
        url = url.set(database=str(absolute_path(str(url.database))))
    return SecretStr(url.render_as_string(hide_password=False))


def _postgres_url(text: str) -> SecretStr:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise ValueError("is not a SQLAlchemy URL like postgresql+psycopg2://user:password@host/database") from None
    if url.get_backend_name() != "postgresql":
        raise ValueError(f"cannot be a {url.drivername} database; it must be PostgreSQL")
    return SecretStr(url.set(drivername="postgresql+psycopg2").render_as_string(hide_password=False))


def _switch(text: str) -> bool:
    if text.lower() not in (*TRUE, *FALSE):
        raise ValueError("must be true or false")
    return text.lower() in TRUE


def whole_number(least: int, most: int) -> BeforeValidator:
    """A whole number within these bounds, both included."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,12}", text) or not least <= int(text) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return from_text(parse)


def one_of(*names: str) -> BeforeValidator:
    """One of these names."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"must be {', '.join(names[:-1])} or {names[-1]}")
        return text

    return from_text(parse)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("must be a day like 2023-01-01") from None


def _lake_root(text: str) -> Path | str:
    if text.startswith(S3):
        bucket, _, prefix = text.removeprefix(S3).partition("/")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", bucket):
            raise ValueError("names no bucket that can be; write s3://bucket or s3://bucket/prefix")
        if "//" in f"/{prefix.rstrip('/')}" or re.search(r"[?#\s]", prefix):
            raise ValueError("has a prefix with an empty part, a blank, ? or #; write s3://bucket/prefix")
        return text.rstrip("/")
    if "://" in text:
        raise ValueError("must be a local folder or s3://bucket/prefix")
    return absolute_path(text)


def _endpoint_url(text: str) -> str:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is no number
    except ValueError:
        parts = urlsplit("")
    plain = parts.path in ("", "/") and not re.search(r"[\s?#@\\]|[^ -~]", text)
    if not plain or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address like https://minio.example.com:9000, without a user, a path or a query")
    return text.rstrip("/")


def _tenant_source(text: str) -> str:
    if text not in ("file", "dynamodb"):
        raise ValueError("must be file or dynamodb")
    return text


def _environment(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_+=.@-]{1,100}", text):
        raise ValueError("must be a name like prod")
    return text


def _table_name(text: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9_.:/-]{3,1024}", text):
        raise ValueError("is no name that a DynamoDB table can have")
    return text


Switch = Annotated[bool, from_text(_switch)]
Day = Annotated[date, from_text(_day)]
MaybePostgres = Annotated[SecretStr | None, from_text(_postgres_url)]
MaybeHome = Annotated[Path | None, from_text(_home)]
MaybeFile = Annotated[Path | None, from_text(absolute_path)]
DatabaseUrl = Annotated[SecretStr, from_text(_database_url)]
LakeRoot = Annotated[Path | str, from_text(_lake_root)]
"""A folder's path, or `s3://bucket[/prefix]` as a text."""
MaybeEndpoint = Annotated[str | None, from_text(_endpoint_url)]
TenantSource = Annotated[Literal["file", "dynamodb"], from_text(_tenant_source)]
MaybeEnvironment = Annotated[str | None, from_text(_environment)]
TableName = Annotated[str, from_text(_table_name)]
