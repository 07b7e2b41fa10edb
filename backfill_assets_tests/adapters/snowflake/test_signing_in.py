"""Signing in to Snowflake: each way works, and where it cannot, a sentence says why without a credential."""

import webbrowser
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from uuid import uuid4

import httpx
import pyarrow as pa
import pytest

from backfill_assets.adapters.snowflake.connecting import Account, connect
from backfill_assets.adapters.snowflake.opening import open_source
from backfill_assets.adapters.snowflake.statements import source_columns
from backfill_assets.errors import BackfillError, ConfigurationError, CredentialRefused, NoSuchTable, SourceUnreachable
from backfill_assets.sandbox.snowflake.server import SnowflakeServer

COLUMNS = {"id": "notification_id", "text": "notification_text", "date": "created_at"}
SECRET = "not-the-secret"


@pytest.fixture(scope="module")
def snowflake() -> Iterator[SnowflakeServer]:
    """The stand-in."""
    with SnowflakeServer() as server:
        yield server


@pytest.fixture(scope="module")
def database(snowflake: SnowflakeServer) -> str:
    """A database with an empty table."""
    name = f"db_{uuid4().hex}"
    kinds = {"notification_id": pa.string(), "created_at": pa.timestamp("us"), "notification_text": pa.string()}
    snowflake.load(name, "notification_text", pa.schema(list(kinds.items())).empty_table())
    return name


def check(account: Account, table: str = "notification_text", **columns: str) -> str:
    with open_source(account, table=table, columns={**COLUMNS, **columns}) as source:
        return source.check()


@pytest.mark.parametrize("how", [{}, {"authenticator": "oauth", "token": "sandbox-snowflake-token"}])
def test_signs_in(snowflake: SnowflakeServer, database: str, how: dict[str, str]) -> None:
    assert check(snowflake.account(database, **how)).endswith("table notification_text")


@pytest.mark.parametrize(
    ("how", "kind", "sentence"),
    [
        ({"password": SECRET}, CredentialRefused, "Check SNOWFLAKE_USER and SNOWFLAKE_PASSWORD"),
        ({"authenticator": "oauth", "token": SECRET}, CredentialRefused, "refused SNOWFLAKE_TOKEN"),
        ({"host": "127.0.0.1", "port": 1}, SourceUnreachable, "Check SNOWFLAKE_ACCOUNT and SNOWFLAKE_HOST"),
    ],
)
def test_a_refusal_says_what_to_look_at(
    snowflake: SnowflakeServer, database: str, how: dict[str, Any], kind: type[BackfillError], sentence: str
) -> None:
    with pytest.raises(kind, match=sentence) as refused:
        check(snowflake.account(database, **how))
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None


def test_what_is_not_there_is_named(snowflake: SnowflakeServer, database: str) -> None:
    with pytest.raises(NoSuchTable, match="BACKFILL_WORK_ORDERS_TABLE"):
        check(snowflake.account(database), table="nosuch")
    with pytest.raises(BackfillError, match="BACKFILL_WORK_ORDERS_COLUMNS"):
        check(snowflake.account(database), date="nosuch")
    with pytest.raises(ConfigurationError, match="no column of ours"):
        source_columns({**COLUMNS, "colour": "x"})


@pytest.mark.parametrize("name", [None, "w3m", "/usr/bin/lynx"])
def test_without_a_browser_the_browser_is_refused_at_once(name: str | None) -> None:
    def find() -> Any:
        if name is None:
            raise webbrowser.Error
        return webbrowser.GenericBrowser(name)

    with pytest.raises(ConfigurationError, match="no browser on this machine"):
        connect(Account(account="acme", user="me", authenticator="externalbrowser"), find_browser=find)


class FollowingBrowser(webbrowser.BaseBrowser):
    """A browser whose user signs in at once."""

    def open(self, url: str, new: int = 0, autoraise: bool = True) -> bool:
        """Go where the page sends it."""
        from threading import Thread

        Thread(target=lambda: httpx.get(url, follow_redirects=True), daemon=True).start()
        return True


def test_signs_in_by_browser(snowflake: SnowflakeServer, database: str) -> None:
    webbrowser.register("following", FollowingBrowser, FollowingBrowser("following"), preferred=True)
    account = snowflake.account(database, authenticator="externalbrowser", password=None)
    with closing(connect(account)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]
