"""What is kept beside a job's row, in a table of ours.

Here belong the statements about it and nothing else.
"""

from sqlalchemy import Connection, insert, select

from backfill_assets.adapters.queue.tables import OPTIONS
from backfill_assets.core.jobs import Options
from backfill_assets.core.tables import OnConflict
from backfill_assets.errors import PermanentError


def read_options(connection: Connection, job_id: int) -> Options:
    """The options of a job; the defaults where there are none."""
    row = connection.execute(select(OPTIONS).where(OPTIONS.c.job_id == job_id)).mappings().first()
    if row is None:
        return Options()
    if row["on_conflict"] not in set(OnConflict):
        raise PermanentError(
            f"backfill_job_options says {row['on_conflict']!r} of job {job_id}; on_conflict is {', '.join(OnConflict)}"
        )
    return Options(
        on_conflict=OnConflict(row["on_conflict"]),
        version_column=row["version_column"] or None,
        create_table=row["create_table"],
    )


def write_options(connection: Connection, job_id: int, options: Options) -> None:
    """Keep the options of a new job."""
    values = {
        "on_conflict": options.on_conflict,
        "version_column": options.version_column,
        "create_table": options.create_table,
    }
    connection.execute(insert(OPTIONS).values(job_id=job_id, **values))
