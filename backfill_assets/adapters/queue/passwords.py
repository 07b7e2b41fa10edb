"""Passwords as the platform stores them: AES-256-GCM, as base64 of nonce, ciphertext and tag.

Here belongs turning them into plain text. What cannot be decrypted is plain text already, as the platform has it.
"""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

from backfill_assets.errors import ConfigurationError

KEY_BYTES, NONCE_BYTES, TAG_BYTES = 32, 12, 16
ENCRYPTION_KEY = "CREDENTIAL_ENCRYPTION_KEY"


class Passwords:
    """Reads stored passwords with the platform's key; without one, all of them are plain text."""

    def __init__(self, key: str | None) -> None:
        self._key = None if key is None else _key(key)

    def plain(self, stored: str) -> str:
        """The password itself."""
        if self._key is None or (sealed := _from_base64(stored)) is None or len(sealed) < NONCE_BYTES + TAG_BYTES:
            return stored
        # Deferred: an installation without encrypted passwords needs none of it.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            return AESGCM(self._key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None).decode()
        except (InvalidTag, UnicodeDecodeError):
            return stored

    def plain_config(self, config: Mapping[str, Any]) -> Mapping[str, Any]:
        """A destination's settings with every text in them that is encrypted made plain."""
        return {name: self.plain(value) if isinstance(value, str) else value for name, value in config.items()}


def _key(text: str) -> bytes:
    """The key, which is written as 64 hex digits, as base64, or as 32 characters."""
    if len(text) == 2 * KEY_BYTES:
        try:
            return bytes.fromhex(text)
        except ValueError:
            pass
    if (found := _from_base64(text)) is not None and len(found) == KEY_BYTES:
        return found
    if len(text.encode()) == KEY_BYTES:
        return text.encode()
    raise ConfigurationError(
        f"{ENCRYPTION_KEY} is no key of 32 bytes; give it as the platform has it, in hex, in base64 or as 32 characters"
    )


def _from_base64(text: str) -> bytes | None:
    try:
        # Both alphabets, with padding or without.
        plain = text.strip().replace("-", "+").replace("_", "/").rstrip("=")
        return b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
