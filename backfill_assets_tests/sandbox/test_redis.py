"""The embedded Redis: started, found again, stopped, and closed to strangers."""

import stat
from pathlib import Path

import pytest
from redis import AuthenticationError, Redis

from backfill_assets.errors import ConfigurationError
from backfill_assets.sandbox.redis import EmbeddedRedis


def test_a_started_server_answers_and_a_stopped_one_is_gone(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as redis:
        with Redis.from_url(redis.url) as client:
            client.set("key", "value")
        with pytest.raises(AuthenticationError), Redis(port=redis.port) as client:
            client.ping()
        assert len(redis.processes()) == 1
    assert not redis.processes()
    assert not redis.answers()
    assert not list(tmp_path.glob("*.rdb"))
    assert stat.S_IMODE((tmp_path / "redis.conf").stat().st_mode) == 0o600


def test_a_server_that_was_left_behind_is_found_and_stopped(tmp_path: Path) -> None:
    left = EmbeddedRedis(tmp_path)
    left.start()
    [process] = left.processes()
    found = EmbeddedRedis(tmp_path)
    found.start()
    assert found.processes() == [process]
    found.stop()
    assert not found.processes()
    left.stop()


def test_a_server_keeps_its_port_and_its_password(tmp_path: Path) -> None:
    redis = EmbeddedRedis(tmp_path)
    with redis:
        url = redis.url
    with redis:
        assert redis.url == url


def test_a_binary_that_does_not_start_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not start"):
        EmbeddedRedis(tmp_path, binary=Path("/bin/false")).start()
