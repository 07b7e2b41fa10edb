"""Salesforce's errors: lists of codes and sentences.

Here belongs how an error is told; when it is one, belongs to whoever finds it.
"""

from starlette.responses import Response

from backfill_assets.sandbox.answering import Refusal, as_json
from backfill_assets.sandbox.salesforce.soql import SoqlError


def refusal(status: int, code: str, message: str) -> Refusal:
    """An error answer."""
    return Refusal(as_json([{"message": message, "errorCode": code}], status=status))


def refused_query(error: SoqlError) -> Refusal:
    """A query that makes no sense."""
    return refusal(400, error.code, str(error))


def not_found(message: str = "The requested resource does not exist") -> Refusal:
    """Nothing is at this address."""
    return refusal(404, "NOT_FOUND", message)


class SalesforceWords:
    """See `Words`."""

    def failed(self, status: int) -> Response:
        """See `Words.failed`."""
        codes = {401: "INVALID_SESSION_ID", 403: "INSUFFICIENT_ACCESS", 404: "NOT_FOUND", 503: "SERVER_UNAVAILABLE"}
        return refusal(status, codes.get(status, "UNKNOWN_EXCEPTION"), f"The server answers {status} as asked").response

    def rate_limited(self, wait: int) -> Response:
        """See `Words.rate_limited`; Salesforce does not say how long to wait."""
        return refusal(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.").response

    def query_timeout(self) -> Response:
        """See `Words.query_timeout`."""
        return refusal(400, "QUERY_TIMEOUT", "Your query request was running for too long.").response

    def expired_cursor(self) -> Response:
        """See `Words.expired_cursor`."""
        return refusal(400, "INVALID_QUERY_LOCATOR", "invalid query locator").response

    def unauthorized(self) -> Response:
        """See `Words.unauthorized`."""
        return refusal(401, "INVALID_SESSION_ID", "Session expired or invalid").response

    def wrong_shape(self) -> Response:
        """See `Words.wrong_shape`."""
        return as_json({"data": []})
