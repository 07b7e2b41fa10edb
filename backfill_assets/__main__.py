"""`python -m backfill_assets` is `backfill`."""

from backfill_assets.cli.main import main

main()
