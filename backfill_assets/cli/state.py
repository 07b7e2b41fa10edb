"""Commands about the state database."""

import click

from backfill_assets.cli.command import BackfillCommand, Output


@click.command(cls=BackfillCommand)
@click.pass_obj
def init(output: Output) -> None:
    """Create or migrate the state database."""
    from backfill_assets.adapters.state.schema import initialise
    from backfill_assets.settings import load_settings

    applied = list(initialise(load_settings().database_url.get_secret_value()))
    text = f"applied {', '.join(applied)}" if applied else "the state database is up to date"
    output.facts({"applied": applied}, text=text)
