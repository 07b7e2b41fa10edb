"""Commands that bring their own outside world: the stand-in services, and the demo."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from backfill_assets.cli.command import PORT, BackfillCommand, Output, loading
from backfill_assets.errors import UsageError


@click.command(cls=BackfillCommand)
@click.option("--port", default=8090, show_default=True, type=PORT, help="Port on 127.0.0.1.")
@click.option("--scale", default=1, show_default=True, type=click.IntRange(min=1), help="Multiplies the records.")
@click.option("--seed", default=1, show_default=True, help="Equal seeds give equal records.")
@click.option("--until", help="No record is later than this (ISO 8601). Default: now.")
@click.option("--requests-per-minute", type=click.IntRange(min=1), help="Each tenant's limit. Default: no limit.")
@click.pass_obj
def sandbox(output: Output, /, *, port: int, until: str | None, **size: Any) -> None:
    """Serve the stand-in services: /SERVICE/TENANT/...; faults and truth below /_sandbox/."""
    from backfill_assets.core.windows import utc_now
    from backfill_assets.sandbox.server import SandboxConfig, serve
    from backfill_assets.tenant_history.plan import parse_moment

    last: datetime = parse_moment(until, "--until") if until else utc_now()
    config = SandboxConfig(until=last.replace(microsecond=0), **size)
    serve(config, port=port, announce=lambda url: output.remark(f"serving {url}, Ctrl-C ends it"))


@click.command(cls=BackfillCommand)
@click.option("--once", is_flag=True, help="End when all is backfilled and verified.")
@click.option("--port", default=3000, show_default=True, type=PORT, help="Port of the Dagster UI on 127.0.0.1.")
@click.option("--home", default=".demo", show_default=True, type=click.Path(path_type=Path), help="Where all lies.")
@click.option("--scale", default=1, show_default=True, type=click.IntRange(min=1), help="Multiplies the records.")
@click.option("--lookback-days", type=click.IntRange(min=1), help="A shorter history. Default: each service's own.")
@click.option("--service", multiple=True, help="Only this service, for example connectwise. Default: all of them.")
@click.option("--remove", is_flag=True, help="Delete what an earlier demo left, and do no more.")
@click.pass_context
def demo(
    ctx: click.Context, /, *, home: Path, port: int, once: bool, remove: bool, service: tuple[str, ...], **size: Any
) -> None:
    """Run everything on this machine: databases, stand-in services, Dagster, and the backfill of what is new."""
    with loading():
        from backfill_assets.sandbox.accounts import ACCOUNTS
        from backfill_assets.sandbox.demo import Demo
        from backfill_assets.sandbox.stack import Stack

    if remove:
        Stack(home=home.absolute(), port=port).remove()
        return
    unknown = [name for name in service if name not in ACCOUNTS]
    if unknown:
        raise UsageError(f"the sandbox has no service {unknown[0]!r}; it has {', '.join(ACCOUNTS)}")
    demo = Demo(home=home.absolute(), port=port, output=ctx.obj, services=service or tuple(ACCOUNTS), **size)
    ctx.exit(demo.run(once=once))
