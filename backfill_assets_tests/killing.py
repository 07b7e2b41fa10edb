"""Killing a program at one of its steps.

The program says what it is about to do, a line a step, and goes on when it is answered.
"""

import signal
import subprocess
import sys


def run_and_kill(module: str, *arguments: str, at: int) -> list[str]:
    """Run a module in a process of its own and kill it at this step; return the steps up to there."""
    program = [sys.executable, "-m", f"backfill_assets_tests.{module}", *arguments]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        steps = [process.stdout.readline()]
        while len(steps) < at:
            process.stdin.write("\n")
            process.stdin.flush()
            steps.append(process.stdout.readline())
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert all(steps), "the program ended before it could be killed"
    return steps
