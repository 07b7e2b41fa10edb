"""An installation in AWS for each test that asks."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from backfill_assets_tests.adapters.aws.server import Aws
    from backfill_assets_tests.configuration.aws_under_test import Installation


@pytest.fixture
def installation(aws: "Aws", monkeypatch: pytest.MonkeyPatch) -> "Installation":
    """An empty installation, which this process has the keys to."""
    from backfill_assets_tests.configuration.aws_under_test import Installation  # boto3 takes a while to load

    for name, value in aws.environ().items():
        monkeypatch.setenv(name, value)
    return Installation.on(aws)
