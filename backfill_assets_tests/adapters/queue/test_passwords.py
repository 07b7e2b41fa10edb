"""Passwords as the platform stores them."""

from base64 import b64encode

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backfill_assets.adapters.queue.passwords import Passwords
from backfill_assets.errors import ConfigurationError

KEY = bytes(range(32))
NONCE = b"123456789012"
STORED = b64encode(NONCE + AESGCM(KEY).encrypt(NONCE, "geheim ü".encode(), None)).decode()


@pytest.mark.parametrize("key", [KEY.hex(), b64encode(KEY).decode(), b64encode(KEY).decode().rstrip("=")])
def test_an_encrypted_password_becomes_plain(key: str) -> None:
    assert Passwords(key).plain(STORED) == "geheim ü"


def test_a_key_of_32_characters_is_taken_as_it_is() -> None:
    key = "k" * 31 + "!"
    stored = b64encode(NONCE + AESGCM(key.encode()).encrypt(NONCE, b"p", None)).decode()
    assert Passwords(key).plain(stored) == "p"


@pytest.mark.parametrize("stored", ["", "plain", "pässword", "a" * 80, STORED[:-8] + "AAAAAAA=", STORED.lower()])
def test_what_cannot_be_decrypted_is_plain_text(stored: str) -> None:
    assert Passwords(KEY.hex()).plain(stored) == stored
    assert Passwords(bytes(32).hex()).plain(STORED) == STORED


def test_without_a_key_everything_is_plain_text() -> None:
    assert Passwords(None).plain(STORED) == STORED


def test_every_text_of_a_config_is_decrypted() -> None:
    config = {"host": "db", "port": 5432, "password": STORED}
    assert Passwords(KEY.hex()).plain_config(config) == {"host": "db", "port": 5432, "password": "geheim ü"}


def test_a_key_that_is_none_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigurationError, match="CREDENTIAL_ENCRYPTION_KEY is no key of 32 bytes") as caught:
        Passwords("secret-thing")
    assert "secret-thing" not in str(caught.value)
