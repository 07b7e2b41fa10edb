"""Salesforce's sessions: tokens that are handed out on signing in and do not last.

Here belongs which tokens are good. Who gets one belongs to `signing_in.py`.
"""


class Sessions:
    """The tokens of all tenants; each is good for `requests_per_token` requests, None for any number."""

    def __init__(self, *, requests_per_token: int | None) -> None:
        self._requests_per_token = requests_per_token
        self._left: dict[str, tuple[str, int | None]] = {}
        self._given = 0

    def open(self, tenant: str) -> str:
        """A new token."""
        self._given += 1
        token = f"00D5f000000{tenant[:4]}!AQ{self._given:012d}"
        self._left[token] = (tenant, self._requests_per_token)
        return token

    def admit(self, tenant: str, token: str) -> bool:
        """Whether the token is good; it counts as a request of it."""
        owner, left = self._left.get(token, ("", 0))
        if owner != tenant or left == 0:
            return False
        self._left[token] = (owner, None if left is None else left - 1)
        return True

    def close(self, token: str) -> None:
        """Let one token be good no more."""
        self._left.pop(token, None)

    def close_all(self, tenant: str | None = None) -> None:
        """Let all tokens of a tenant, or of everyone, be good no more."""
        self._left = {
            token: (owner, left) for token, (owner, left) in self._left.items() if tenant not in (None, owner)
        }
