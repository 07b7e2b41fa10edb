"""Many instances of one model, made by PostgreSQL itself in seconds.

Here belongs data of a real one's size and shape, for the demo and the benchmarks: seven tasks an instance, of which
the sixth ended last; a document for the start, which all share, and two of each instance's own.
"""

from datetime import datetime

from sqlalchemy import Engine, text

TASKS = 7

STATEMENTS = (
    """
    INSERT INTO process_instance (id, process_model_identifier, process_model_display_name, process_initiator_id,
        start_in_seconds, end_in_seconds, updated_at_in_seconds, created_at_in_seconds, status)
    SELECT n, :model, 'Invoice', 1, moment, moment + 60, moment + 60, moment, 'complete'
    FROM generate_series(:first, :last) AS n,
        LATERAL (SELECT :since + ((:until - :since)::bigint * (n - :first) / (:last - :first + 1))::int) AS at (moment)
    """,
    """
    INSERT INTO json_data (hash, data)
    SELECT encode(sha256((kind || ':' || n)::bytea), 'hex'), json_build_object(
        'customer', json_build_object('id', 'C-' || n % 5000, 'name', 'Customer ' || n % 5000, 'address',
            json_build_object('street', 'Main Street ' || n % 90, 'city', 'Springfield', 'country', 'US')),
        'invoice', CASE WHEN kind = 'end' AND n % 20 <> 0 THEN json_build_object('number', 'INV-' || n,
            'total', n % 1000 + 0.5, 'lines', json_build_array('first', 'second', 'third')) END,
        'approved', n % 3 = 0, 'comment', repeat('x', n % 200))
    FROM generate_series(:first, :last) AS n, unnest(ARRAY['middle', 'end']) AS kind
    """,
    "INSERT INTO json_data (hash, data) VALUES (encode(sha256('{}'::bytea), 'hex'), '{}') ON CONFLICT DO NOTHING",
    """
    INSERT INTO task (guid, bpmn_process_id, process_instance_id, task_definition_id, state, properties_json,
        json_data_hash, python_env_data_hash, start_in_seconds, end_in_seconds)
    SELECT gen_random_uuid(), n, n, place, CASE WHEN place = 7 THEN 'FUTURE' ELSE 'COMPLETED' END,
        json_build_object('id', gen_random_uuid(), 'parent', gen_random_uuid(), 'state', 64, 'task_spec', 'Activity',
            'children', json_build_array(gen_random_uuid()), 'internal_data', json_build_object(), 'typename', 'Task'),
        CASE WHEN place < 3 THEN encode(sha256('{}'::bytea), 'hex')
             ELSE encode(sha256((CASE WHEN place < 5 THEN 'middle:' ELSE 'end:' END || n)::bytea), 'hex') END,
        encode(sha256('{}'::bytea), 'hex'), NULL,
        CASE WHEN place BETWEEN 2 AND 6 THEN created_at_in_seconds + place * 0.000131 END
    FROM process_instance, generate_series(1, 7) AS place, LATERAL (SELECT id) AS numbered (n)
    WHERE id BETWEEN :first AND :last
    """,
)


def fill(engine: Engine, *, model: str, instances: int, since: datetime, until: datetime, first: int = 1) -> None:
    """Add so many instances to tables that `schema` made, created evenly over this time, with ids from `first` on."""
    moments = {"since": int(since.timestamp()), "until": int(until.timestamp())}
    given = {**moments, "model": model, "first": first, "last": first + instances - 1}
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for statement in STATEMENTS:
            wanted = {name: value for name, value in given.items() if f":{name}" in statement}
            connection.execute(text(statement), wanted)
        for sequence in ("process_instance",):
            connection.execute(text(f"SELECT setval('{sequence}_id_seq', (SELECT max(id) FROM {sequence}))"))  # noqa: S608
        connection.execute(text("VACUUM ANALYZE"))
