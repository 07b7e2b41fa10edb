"""The command about metadata fields of process models."""

import getpass
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from backfill_assets.cli.command import BackfillCommand, Output
from backfill_assets.errors import ConfigurationError, PermanentError, UsageError

# What the command works with is imported when it runs: `--help` should not wait for Dagster.
if TYPE_CHECKING:
    from backfill_assets.core.windows import Window
    from backfill_assets.process_metadata.filling import Filling
    from backfill_assets.resources import Wiring
    from backfill_assets.settings import Settings

SHOWN_NAMES = 10


@click.command(cls=BackfillCommand)
@click.argument("target", metavar="MODEL[:KEY,KEY]")
@click.argument("keys", metavar="[KEY]...", nargs=-1)
@click.option("--overwrite", is_flag=True, help="Give rows that are there the value of the path as it is now.")
@click.option("--created-from", help="Instances created from this day on, in whole months. Default: all.")
@click.option("--created-to", help="Instances created before this day, in whole months. Default: all.")
@click.option("--max-instances", type=click.IntRange(min=1), help="Instances after which each run ends: a rehearsal.")
@click.option("--dry-run", is_flag=True, help="Show what would be launched, and change nothing.")
@click.option("--wait", is_flag=True, help="Show progress until it has ended.")
@click.pass_obj
def metadata(
    output: Output,
    /,
    *,
    target: str,
    keys: Sequence[str],
    overwrite: bool,
    created_from: str | None,
    created_to: str | None,
    max_instances: int | None,
    dry_run: bool,
    wait: bool,
) -> None:
    """Launch metadata fields of process model MODEL: those named, or all that it has, known ones too.

    A KEY that holds a comma is written as an argument of its own.
    """
    from backfill_assets.cli.instance import asset_graph, open_instance
    from backfill_assets.cli.progress import until_ended
    from backfill_assets.following import all_runs_succeeded
    from backfill_assets.process_metadata.filling import Filling, launch_filling
    from backfill_assets.resources import open_wiring
    from backfill_assets.settings import load_settings

    settings = load_settings()
    _require_on(settings)
    with open_instance(settings) as instance, open_wiring(settings) as wiring:
        filling = Filling(
            fields=_fields(settings, target, keys),
            months=_months(wiring, created_from, created_to),
            overwrite=overwrite,
            most_instances=max_instances,
        )
        facts = _facts(wiring, filling)
        output.remark(_describe(filling, facts))
        if dry_run:
            output.facts(facts, text="nothing was launched (--dry-run)")
            return
        asked = {"reason": "asked for by backfill metadata", "requested_by": f"{getpass.getuser()} (backfill metadata)"}
        launched = launch_filling(wiring, instance, asset_graph(), filling, **asked)
        known = f"backfill {launched.backfill_id} for the same target is already under way; nothing was launched"
        text = f"launched backfill {launched.backfill_id}" if launched.is_new else known
        output.facts({**facts, "backfill_id": launched.backfill_id, "is_new": launched.is_new}, text=text)
        if wait:
            try:
                until_ended(instance, launched.backfill_id, output)
            except PermanentError:
                # One that completes no partition is a failed one to Dagster.
                if max_instances is None or not all_runs_succeeded(instance, launched.backfill_id):
                    raise
                output.remark("the rehearsal has ended; its runs' observations say what they saw")


def _require_on(settings: "Settings") -> None:
    from backfill_assets.configuration.domains import PROCESS_METADATA
    from backfill_assets.configuration.process_metadata import CELERY_ENABLED, METADATA_ENABLED

    if not settings.metadata_enabled:
        raise ConfigurationError(
            f"process metadata is switched off; set {METADATA_ENABLED}=true, which needs {CELERY_ENABLED}=true, and "
            "restart Dagster"
        )
    if PROCESS_METADATA not in settings.domains:
        raise ConfigurationError(f"BACKFILL_DOMAINS leaves {PROCESS_METADATA} out; name it there, and restart Dagster")


def _fields(settings: "Settings", target: str, more: Sequence[str]) -> Any:
    from backfill_assets.core.metadata import MetadataField

    model, colon, text = target.partition(":")
    paths = _paths(settings, model.strip("/"))
    named = ([text] if text in paths else [key.strip() for key in text.split(",")]) if colon else []
    wanted = list(dict.fromkeys([*named, *more])) or list(paths)
    known = _few(list(paths))
    if unknown := [key for key in wanted if key not in paths]:
        near = get_close_matches(unknown[0], paths, n=1)
        guess = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"process model {model!r} has no key {unknown[0]!r}; it has {known}{guess}")
    if not wanted:
        raise UsageError(
            f"process model {model!r} has no metadata fields; add a key and a path to its metadata_extraction_paths"
        )
    return [MetadataField(model=model.strip("/"), key=key, path=paths[key]) for key in wanted]


def _paths(settings: "Settings", model: str) -> Mapping[str, str]:
    from backfill_assets.process_metadata.paths import process_models
    from backfill_assets.process_metadata.scanning import list_models, read_model

    root = process_models(settings)
    models = list_models(root).models
    if model not in models:
        near = get_close_matches(model, models, n=3, cutoff=0.4)
        guess = f"near it are {', '.join(near)}" if near else f"it has {_few(models)}"
        raise UsageError(f"there is no process model {model!r} in {root}; {guess}")
    found = read_model(root, model)
    if found.problem:
        raise PermanentError(f"the process model cannot be read: {found.problem}")
    return found.paths


def _months(wiring: "Wiring", created_from: str | None, created_to: str | None) -> Sequence["Window"]:
    from backfill_assets.process_metadata.partitions import months_until
    from backfill_assets.tenant_history.plan import parse_moment

    start = None if created_from is None else parse_moment(created_from, "--created-from")
    end = None if created_to is None else parse_moment(created_to, "--created-to")
    if start and end and start >= end:
        raise UsageError(f"--created-to {created_to} is not after --created-from {created_from}")
    months = months_until(wiring.settings.metadata_start, wiring.clock())
    asked = [
        month for month in months if (start is None or month.end > start) and (end is None or month.reads_from < end)
    ]
    if not asked:
        raise UsageError(f"--created-from {created_from} lies in the future; no instance was created then")
    return asked


def _facts(wiring: "Wiring", filling: "Filling") -> dict[str, Any]:
    with wiring.instances() as database:
        instances = sum(span.instances for span in database.spans(filling.model, filling.months))
    return {
        "model": filling.model,
        "keys": [field.key for field in filling.fields],
        "created_from": filling.months[0].start.isoformat(),
        "created_to": filling.months[-1].end.isoformat(),
        "overwrite": filling.overwrite,
        "max_instances": filling.most_instances,
        "instances": instances,
        "partitions": filling.partitions,
        "runs": filling.runs,
    }


def _describe(filling: "Filling", facts: Mapping[str, Any]) -> str:
    months = f"months {filling.months[0].key[:7]} to {filling.months[-1].key[:7]}"
    return (
        f"{filling.model}: {len(filling.fields)} fields ({_few(facts['keys'])}), {facts['instances']} instances, "
        f"{months} = {filling.partitions} partitions, in about {filling.runs} runs"
    )


def _few(names: Sequence[str]) -> str:
    more = len(names) - SHOWN_NAMES
    return ", ".join([*names[:SHOWN_NAMES], *([f"and {more} more"] if more > 0 else [])]) or "none"
