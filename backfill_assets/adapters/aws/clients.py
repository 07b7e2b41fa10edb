"""Clients of AWS services that wait for seconds, not for minutes, and give up after a few tries.

Here belong the time-outs and where a client connects to. boto3 finds credentials and region as everywhere
(`AWS_ACCESS_KEY_ID` and so on, a profile, the machine's role), and an endpoint where none is given. Importing this
brings in boto3, which takes a fifth of a second: import it where a client is opened.
"""

from typing import Any

import boto3
from botocore.config import Config

TRIES = 3
CONNECT_SECONDS = 3
READ_SECONDS = 20
SETTINGS_SECONDS = 5
"""A read of settings may not take as long as one of the lake: a sensor repeats it at each tick."""


def patience(*, read_seconds: float = READ_SECONDS, connections: int = 16) -> Config:
    """Bounded waiting: `TRIES` tries with growing pauses, each with these time-outs; `connections` at once."""
    return Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": TRIES},
        max_pool_connections=connections,
    )


def s3_client(endpoint_url: str | None) -> Any:
    """A client of S3, or of a store that speaks its language at this endpoint."""
    config = patience()
    if endpoint_url:
        # Such stores know buckets as paths, not as hosts, and many do not know the newer checksums.
        elsewhere = Config(
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        config = config.merge(elsewhere)
    return boto3.session.Session().client("s3", endpoint_url=endpoint_url, config=config)
