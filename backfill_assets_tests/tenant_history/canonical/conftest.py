"""The storages that the tests of this folder run on: those of the lake's own tests."""

from backfill_assets_tests.adapters.lake.conftest import bucket, storage

__all__ = ["bucket", "storage"]
