"""Partition keys: texts of users made fit for Dagster, and back."""

import re
from urllib.parse import unquote

_UNFIT = re.compile(r"[|,\[\]%]|\.\.\.")


def encode_key(text: str) -> str:
    """Percent-encode what Dagster cannot carry in a partition key (`|`, `,`, `[`, `]`, `...`, `%`)."""
    return _UNFIT.sub(lambda match: "".join(f"%{ord(char):02X}" for char in match.group()), text)


def decode_key(key: str) -> str:
    """The text that `encode_key` was given."""
    return unquote(key)
