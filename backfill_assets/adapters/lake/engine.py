"""DuckDB, with bounds: how much it may use, that it asks no network for anything, and its errors in sentences.

Here belongs what is the same for every statement. DuckDB is loaded by who opens an engine, and by nobody else: it takes
a tenth of a second and 60 MB.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backfill_assets.errors import PermanentError

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What DuckDB may use; what does not fit goes to the disk. The process needs some 400 MB beside `memory_mb`."""

    memory_mb: int = 1500
    threads: int = 2


MODEST = Limits()
"""What keeps a build of millions of versions under 2 GB."""


@contextmanager
def engine(spill: Path, limits: Limits) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A connection to an empty database in memory, which spills to this folder."""
    import duckdb

    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": f"{limits.memory_mb}MB",
        "threads": str(limits.threads),
        "temp_directory": str(spill),
        # A function that is not built in is an error, not a reason to download something.
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
    }
    with duckdb.connect(":memory:", config=settings) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection


@contextmanager
def told(what: str, limits: Limits) -> Iterator[None]:
    """Raise what the data and the disk do to a statement as one of our errors; `what` could not be done.

    A statement that is wrong in itself is an error of this program and stays what it is.
    """
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise PermanentError(
            f"{what}: neither {limits.memory_mb} MB of memory nor the disk for temporary files were enough "
            f"({_first_line(error)}); make room for temporary files, then rerun"
        ) from error
    except duckdb.Error as error:
        if isinstance(error, duckdb.ProgrammingError) and not isinstance(error, duckdb.InvalidInputException):
            raise
        raise PermanentError(f"{what} ({_first_line(error)}); correct that, then rerun") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
