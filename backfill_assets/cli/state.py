"""Commands about the state database."""

import click

from backfill_assets.cli.command import BackfillCommand, Output


@click.command(cls=BackfillCommand)
@click.pass_obj
def init(output: Output) -> None:
    """Create or migrate the state database, the tables of work orders, and what the queue of tables lacks."""
    from backfill_assets.adapters.state.schema import initialise
    from backfill_assets.settings import load_settings

    settings = load_settings()
    applied = list(initialise(settings.database_url.get_secret_value()))
    if settings.work_orders_database_url is not None:
        # Deferred: where the domain is off, nothing of it is loaded.
        from backfill_assets.adapters.work_orders.schema import initialise as initialise_orders
        from backfill_assets.order_parts import provider_of

        url = settings.work_orders_database_url.get_secret_value()
        made = initialise_orders(url, dimensions=provider_of(settings).vector_dimensions)
        applied += [f"work_orders {revision}" for revision in made]
    text = f"applied {', '.join(applied)}" if applied else "the state database is up to date"
    created: list[str] = []
    if settings.queue_database_url is not None:
        from backfill_assets.adapters.queue.connecting import initialise as create_queue

        created = list(create_queue(settings.queue_database_url.get_secret_value()))
        text += f"; created {', '.join(created)}" if created else "; the queue's tables are there"
    output.facts({"applied": applied, "created": created}, text=text)
