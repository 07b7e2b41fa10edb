"""Jobs for a worker under test; each writes down what it does in the file that its run config names."""

import os
import time
from pathlib import Path

import dagster as dg

COMMITS = 600
PAUSE = 0.1


class Diary(dg.Config):
    """Where to write."""

    file: str


@dg.op
def commit_again_and_again(config: Diary) -> None:
    """For a minute a commit every tenth of a second; what happens between two of them is undone."""
    for number in range(COMMITS):
        _write(config, f"commit {number}")
        time.sleep(PAUSE)


@dg.op
def tell_the_process(config: Diary) -> None:
    """Write down which process this is."""
    _write(config, f"process {os.getpid()} of {os.getppid()}")


@dg.job(executor_def=dg.in_process_executor)
def slow() -> None:
    """A job that takes a minute."""
    commit_again_and_again()


@dg.job(executor_def=dg.in_process_executor)
def quick() -> None:
    """A job that takes no time."""
    tell_the_process()


@dg.repository
def repository() -> list[dg.JobDefinition]:
    """What a worker loads."""
    return [slow, quick]


def _write(config: Diary, line: str) -> None:
    with Path(config.file).open("a") as file:
        file.write(f"{line}\n")
