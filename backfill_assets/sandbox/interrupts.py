"""What ends the demo: Ctrl-C and being told to end, heard once, and never in the middle of stopping.

Here belongs hearing it. What is stopped, and in which order, belongs to `demo.py`.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """Ctrl-C, or being told to end; not an Exception, so that nothing takes it for an error."""


class Interrupts:
    """Turns the first signal into `Stopped` and is deaf from then on, so that stopping is never cut short."""

    def __init__(self) -> None:
        self._shields = 0
        self._is_pending = False

    def listen(self) -> None:
        """Take over the signals that end the demo."""
        for number in SIGNALS:
            signal.signal(number, self._hear)

    @contextmanager
    def shield(self) -> Iterator[None]:
        """Hold a signal back until the end of the block."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
        self.check()

    def check(self) -> None:
        """Raise `Stopped` when a signal was heard: Python drops an exception that comes in a destructor."""
        if self._is_pending and not self._shields:
            raise Stopped

    def deafen(self) -> None:
        """Hear no signal any more."""
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    def _hear(self, _number: int, _frame: Any) -> None:
        self.deafen()
        self._is_pending = True
        self.check()
