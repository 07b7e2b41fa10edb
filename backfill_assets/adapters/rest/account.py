"""Whose requests are made, and what must never be told of it.

Values only; the requests belong to `http`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

SHORTEST_SECRET = 6
"""Shorter texts are no secrets and are parts of words, which would become unreadable: `any` in `company`."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Whose requests these are, for messages; `secrets` are the texts that no message may hold."""

    service: str
    tenant: str
    credential_names: Sequence[str] = ()
    secrets: Sequence[str] = field(default=(), repr=False)

    def redact(self, text: str) -> str:
        """The text without any of the secrets that are long enough to be some."""
        secrets = (secret for secret in self.secrets if len(secret) >= SHORTEST_SECRET)
        for secret in sorted(secrets, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    @property
    def advice(self) -> str:
        """What to look at when the credential is refused, as a sentence."""
        names = ", ".join(self.credential_names)
        return f"Check {names}." if names else "Check the tenant's credential."
