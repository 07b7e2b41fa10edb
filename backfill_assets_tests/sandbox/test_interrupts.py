"""Ctrl-C is never lost, wherever in the program it arrives."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from backfill_assets.sandbox.interrupts import Interrupts, Stopped

IN_A_DESTRUCTOR = """
import os, signal
from contextlib import nullcontext
from backfill_assets.cli.command import loading

class Dropped:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

with {context}():
    Dropped()
print("went on")
"""


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    heard = Interrupts()
    heard.listen()
    yield heard
    for number, handler in before.items():
        signal.signal(number, handler)


def dropped(context: str) -> subprocess.CompletedProcess[str]:
    """A program that hears Ctrl-C where Python drops the exception that it becomes."""
    program = [sys.executable, "-c", IN_A_DESTRUCTOR.format(context=context)]
    return subprocess.run(program, capture_output=True, text=True, check=False, timeout=30)


def test_while_code_is_loaded_the_program_ends_at_once() -> None:
    assert "went on" in dropped("nullcontext").stdout
    ended = dropped("loading")
    assert (ended.returncode, ended.stdout) == (-signal.SIGINT, "")


def test_a_signal_that_was_dropped_is_found_at_the_next_check(interrupts: Interrupts) -> None:
    interrupts.check()
    with pytest.raises(Stopped):
        signal.raise_signal(signal.SIGINT)
    for _ in range(2):
        with pytest.raises(Stopped):
            interrupts.check()


def test_a_signal_is_held_back_by_a_shield_and_told_at_its_end(interrupts: Interrupts) -> None:
    steps = []

    def work() -> None:
        with interrupts.shield():
            signal.raise_signal(signal.SIGTERM)
            interrupts.check()
            steps.append("inside")

    with pytest.raises(Stopped):
        work()
    assert steps == ["inside"]
