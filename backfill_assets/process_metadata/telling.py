"""The lines that a backfill logs, in the words of the product's usage guide.

Here belong the sentences; every one holds the token that the guide says to search for, and none holds a value.
"""

from collections.abc import Callable
from dataclasses import dataclass

Log = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Telling:
    """Tells how the backfill of one model goes."""

    log: Log
    run_id: str
    model: str

    def started(self) -> None:
        """The first line."""
        self._tell(f"Starting metadata backfill for process model: {self.model}")

    def progress(self, processed: int, total: int) -> None:
        """After each batch; both are instances."""
        done = f"{processed}/{max(processed, total)}"
        self._tell(f"Metadata backfill progress: {done} instances processed for model {self.model}")

    def completed(self, processed: int, updated: int, seconds: float) -> None:
        """The last line: instances processed, rows written."""
        numbers = f"Processed: {processed}, Updated: {updated}, Time: {seconds:.2f}s"
        self._tell(f"Completed metadata backfill for process model: {self.model}. {numbers}")

    def instance_failed(self, instance_id: int, key: str, reason: str) -> None:
        """One instance could not be done."""
        self._tell(f"Error processing metadata backfill for instance {instance_id}, key {key}: {reason}")

    def failed(self, what: str, reason: str) -> None:
        """A month, or all of it, could not be done."""
        self._tell(f"Error processing metadata backfill for process model {self.model}, {what}: {reason}")

    def again(self, reason: str, pause: float) -> None:
        """A failure that may pass."""
        self._tell(f"Metadata backfill for process model {self.model} tries again in {pause:.1f}s: {reason}")

    def _tell(self, sentence: str) -> None:
        self.log(f"celery_task_backfill_metadata[{self.run_id}]: {sentence}")
