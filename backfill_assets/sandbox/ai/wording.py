"""How AI providers word their errors, which Azure and OpenAI do alike.

Here belongs the body of an error; when it is sent belongs to `api`.
"""

from collections.abc import Mapping

from starlette.responses import Response

from backfill_assets.sandbox.answering import as_json


def failure(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None) -> Response:
    """An error with its code."""
    error = {"message": message, "type": "invalid_request_error" if status < 500 else "server_error", "code": code}
    return as_json({"error": error}, status=status, headers=headers)


class AiWords:
    """See `Words`."""

    def failed(self, status: int) -> Response:
        """See `Words.failed`."""
        return failure(status, "internal_error", "The server had an error while processing your request.")

    def rate_limited(self, wait: int) -> Response:
        """See `Words.rate_limited`."""
        told = f"Rate limit reached. Please retry after {wait} seconds."
        return failure(429, "rate_limit_exceeded", told, headers={"Retry-After": str(wait)})

    def query_timeout(self) -> Response:
        """See `Words.query_timeout`."""
        return failure(408, "timeout", "The operation was timeout.")

    def expired_cursor(self) -> Response:
        """See `Words.expired_cursor`; there are none here."""
        return self.failed(500)

    def unauthorized(self) -> Response:
        """See `Words.unauthorized`."""
        return failure(401, "invalid_api_key", "Incorrect API key provided.")

    def wrong_shape(self) -> Response:
        """See `Words.wrong_shape`."""
        return as_json({"object": "chat.completion", "choices": [], "data": []})
