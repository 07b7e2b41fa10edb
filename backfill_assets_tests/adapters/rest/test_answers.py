"""Reading Retry-After and a service's own words."""

from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backfill_assets.adapters.rest.answers import retry_after_seconds, service_message

NOW = datetime(2024, 5, 1, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 5),
        ("17", 17),
        (" 17 ", 17),
        ("1.5", 1.5),
        ("0", 0),
        ("-3", 0),
        ("100000", 300),
        ("soon", 5),
        ("", 5),
        ("nan", 5),
        ("inf", 5),
        ("Wed, 01 May 2024 12:00:30 GMT", 30),
        ("Wed, 01 May 2024 12:00:30 -0000", 30),
        ("Wed, 01 May 2024 11:00:00 GMT", 0),
        ("Thu, 02 May 2024 12:00:00 GMT", 300),
    ],
)
def test_reads_retry_after_as_seconds_or_a_date_within_bounds(header: str | None, seconds: float) -> None:
    assert retry_after_seconds(header, now=NOW, longest=300) == seconds


@given(header=st.text(max_size=40))
def test_no_retry_after_breaks_the_reading(header: str) -> None:
    assert 0 <= retry_after_seconds(header, now=NOW, longest=300) <= 300


def test_joins_code_and_messages_of_a_connectwise_error() -> None:
    body = {
        "code": "InvalidObject",
        "message": "ticket object is invalid",
        "errors": [{"code": "MissingRequired", "message": "A summary is required", "field": "summary"}],
    }
    told = service_message(httpx.Response(400, json=body))
    assert told == " (InvalidObject: ticket object is invalid; MissingRequired: summary: A summary is required)"


@pytest.mark.parametrize("body", [None, [], 17, {}, {"errors": None}, {"errors": [None, "no"]}])
def test_a_body_of_another_shape_says_nothing(body: object) -> None:
    assert service_message(httpx.Response(400, json=body)) == ""


def test_plain_text_is_put_on_one_line_and_cut_and_a_page_of_html_left_out() -> None:
    assert service_message(httpx.Response(400, text="no\n  such\tthing")) == " (no such thing)"
    assert len(service_message(httpx.Response(400, text="x" * 5000))) == 303
    assert service_message(httpx.Response(502, html="<h1>Bad Gateway</h1>")) == ""
