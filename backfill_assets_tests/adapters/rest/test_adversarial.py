"""What every client keeps while everything around it goes wrong: one suite over real HTTP against the sandbox.

The promise: every record that held still while a window was read is read exactly once in it, and none is ever read
twice in the same version. Between any two requests of a client (`adversity`) something happens by a seeded schedule.

Failure classes: records that change between requests, forward within the window, out of it, into it, or all to one
moment; connections that drop; bodies that are cut; HTML instead of JSON or CSV; 5xx; rate limits (429, and Salesforce's
403); pages shortened by hidden rows, and whole pages of them; queries cancelled inside a success; tokens that run out,
and signing in that fails; cursors that expire; bulk jobs that fail.

Which mutation of the clients each test catches (each was made once, and the test seen to fail):

* everything_at_once: fails when the keyset goes on with >= instead of > (ServiceNow, Salesforce), when it goes on with
  the version alone, and when a page is asked for by its offset instead of after the last record.
* records_of_one_moment: fails when the keyset goes on with the version alone, so that whoever shares it is skipped.
* leavers: fails when pages are asked for by offset or number: who leaves pulls another onto a page already read.
* each_failure: fails when a body that is not JSON or CSV is taken for an empty page, when a connection that broke is
  not tried again, when a rate limit of Salesforce counts as a refused credential, when a cancelled query of ServiceNow
  is taken for an empty page, and when the rows of a cut CSV are taken as they are.
* hidden_rows: fails when a page shorter than asked for is taken for the end.
* whole_pages_of_hidden_rows: fails when an empty page is taken for the end although it names a next one.
* hidden_rows_that_leave: fails when the next offset is a whole page further on instead of half of one.
* tokens: fails when a 401 does not renew the token, and when a failure to sign in is not tried again.
* expired_cursors: fails when an expired cursor is raised, and when it is taken for the end.
* failed_jobs: fails when a failed job counts as one that found nothing.
"""

from collections.abc import Iterable
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest

from backfill_assets.sandbox.server import SandboxServer
from backfill_assets_tests.adapters.rest.adversity import (
    FAILURES,
    MIDDLE,
    SECOND,
    START,
    WINDOWS,
    Play,
    Schedule,
    begin,
    log_out,
)
from backfill_assets_tests.adapters.rest.stands import CLIENTS, PAGE_SIZE, UNTIL, reset

SALESFORCE = [name for name in CLIENTS if name.startswith("salesforce")]


@pytest.fixture(params=list(CLIENTS))
def play(request: pytest.FixtureRequest, sandbox: SandboxServer) -> Play:
    return begin(sandbox, request.param)


def only(names: Iterable[str]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("play", list(names), indirect=True)


@pytest.mark.parametrize("seed", range(5))
def test_everything_at_once_loses_and_repeats_nothing_that_held_still(play: Play, seed: int) -> None:
    Schedule(play, seed).run()


@pytest.mark.proof
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", list(CLIENTS))
def test_everything_at_once_by_many_schedules(sandbox: SandboxServer, name: str) -> None:
    for seed in range(1000, 1200):
        reset(sandbox)
        Schedule(begin(sandbox, name), seed, events=80).run()


def test_records_of_one_moment_are_each_read_once(play: Play) -> None:
    moment = MIDDLE - timedelta(days=2)
    for key in play.within(START, moment)[: 4 * PAGE_SIZE]:
        play.move(key, moment)
    play.check(*WINDOWS[0])


def test_leavers_take_nobody_else_along(play: Play) -> None:
    leavers = iter(play.within(*WINDOWS[0])[: 3 * PAGE_SIZE : 2])

    def leave() -> None:
        for key in (next(leavers, None), next(leavers, None)):
            if key is not None:
                play.move(key, UNTIL - SECOND)

    play.check(*WINDOWS[0], leave)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: f"{failure['kind']}-{failure.get('status', '')}")
def test_each_failure_in_mid_window_loses_nothing(play: Play, failure: dict[str, Any]) -> None:
    # Of a bulk job, the parts of its result: what comes before is described, counted, made and looked at twice.
    play.spoil(**failure, after_page=3 if play.client.order else 6, times=2)
    play.check(*WINDOWS[0])


@only(["connectwise", "servicenow"])
def test_hidden_rows_shorten_pages_and_end_nothing(play: Play) -> None:
    for key in play.within(*WINDOWS[0])[::3]:
        play.hidden.add(key)
        play.spoil("hidden_records", record_id=key)
    play.check(*WINDOWS[0])


@only(["servicenow"])
def test_whole_pages_of_hidden_rows_end_nothing(play: Play) -> None:
    hide(play, 4 * PAGE_SIZE)
    play.check(*WINDOWS[0])


@only(["servicenow"])
@pytest.mark.parametrize("number", range(50, 60, 2))
def test_hidden_rows_that_leave_meanwhile_pull_nobody_onto_a_page_already_passed(play: Play, number: int) -> None:
    leavers = iter(hide(play, number))

    def leave() -> None:
        for key in islice(leavers, PAGE_SIZE // 2):
            play.move(key, UNTIL - SECOND)

    play.check(*WINDOWS[0], leave)


def hide(play: Play, number: int) -> list[Any]:
    """Hide about so many rows in a row from the middle of the first window; their ids."""
    rows = play.within(*WINDOWS[0])[PAGE_SIZE:]
    start, end = play.held[rows[0]], play.held[rows[number]]
    play.spoil("hidden_records", **{"from": start.isoformat(), "to": end.isoformat()})
    hidden = play.within(start, end)
    play.hidden.update(hidden)
    return hidden


@only(SALESFORCE)
def test_tokens_that_run_out_at_any_request_and_signing_in_that_fails_lose_nothing(play: Play) -> None:
    requests = iter(range(10_000))

    def happen() -> None:
        number = next(requests)
        if number % 3 == 2:
            log_out(play)
        if number == 8:
            play.spoil("status", status=503, table="oauth2/token", times=2)

    play.check(*WINDOWS[0], happen)


@only(["salesforce"])
def test_expired_cursors_lose_nothing(play: Play) -> None:
    play.spoil("expired_cursor")
    play.check(*WINDOWS[0])


@only(["salesforce by bulk job"])
def test_failed_jobs_are_made_anew(play: Play) -> None:
    play.spoil("failed_job", times=2)
    play.check(*WINDOWS[0])
