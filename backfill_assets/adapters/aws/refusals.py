"""What an error of AWS means, in a sentence: what could not be done, why, and what to do next.

Here belongs the translation of botocore's errors. AWS's own texts are left out: they can hold parts of a request.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
    ResponseStreamingError,
)

from backfill_assets.errors import (
    BackfillError,
    CredentialRefused,
    PermanentError,
    SourceUnreachable,
    TransientError,
)

_NOT_OURS = {
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "ExpiredTokenException"),
    *("UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "IncompleteSignature"),
    *("MissingAuthenticationToken", "AuthFailure", "InvalidSecurity", "TokenRefreshRequired"),
}
_NOT_ALLOWED = {"AccessDenied", "AccessDeniedException", "AllAccessDisabled"}
_BUSY = {
    *("SlowDown", "Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"),
    *("ProvisionedThroughputExceededException", "RequestTimeTooSkewed", "OperationAborted", "RequestTimeout"),
    *("ServiceUnavailable", "InternalError", "InternalServerError", "InternalServiceError"),
}


@contextmanager
def told(failed: str, *, rights: str, absent: str = "") -> Iterator[None]:
    """Raise an AWS error of the block as one of ours.

    `failed` says what could not be done and begins the sentence, `rights` are the IAM actions that it takes; `absent`
    says what to do when what was asked for is not there.
    """
    try:
        yield
    except ClientError as error:
        raise _refused(failed, error, rights, absent) from error
    except (BotoCoreError, ResponseStreamingError) as error:
        raise _failed(failed, error) from error


def code_of(error: ClientError) -> str:
    """AWS's own name of the error."""
    return str(error.response.get("Error", {}).get("Code", "?"))


def _refused(failed: str, error: ClientError, rights: str, absent: str) -> BackfillError:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _NOT_OURS:
        return CredentialRefused(
            f"{failed}: the credential is not accepted ({code}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and "
            "AWS_SESSION_TOKEN, or the role of this machine"
        )
    if code in _NOT_ALLOWED:
        return CredentialRefused(f"{failed}: the credential may not do that ({code}); allow it {rights}")
    if status in (401, 403):
        return CredentialRefused(f"{failed}: the credential is refused ({code}); check it, and allow it {rights}")
    if code in _BUSY or status >= 500:
        return TransientError(f"{failed}: the service is too busy or failed ({code}) {_tries(error)}; try again later")
    if absent and status in (400, 404) and ("NoSuch" in code or "NotFound" in code or code == "404"):
        return PermanentError(f"{failed}: {absent}")
    return PermanentError(f"{failed}: the service answered {code} (status {status}); look that code up, then try again")


def _tries(error: ClientError) -> str:
    tries = 1 + error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)
    return f"{tries} times in a row" if tries > 1 else "just now"


def _failed(failed: str, error: Exception) -> BackfillError:
    match error:
        case NoCredentialsError() | PartialCredentialsError() | CredentialRetrievalError():
            return CredentialRefused(
                f"{failed}: no AWS credential was found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this "
                "machine a role"
            )
        case NoRegionError():
            return PermanentError(f"{failed}: no AWS region is set; set AWS_DEFAULT_REGION")
        case ProfileNotFound():
            return PermanentError(f"{failed}: there is no AWS profile of the name in AWS_PROFILE; correct it")
        case ReadTimeoutError() | IncompleteReadError() | ResponseStreamingError():
            return TransientError(f"{failed}: the connection broke or took too long; try again later")
        case HTTPClientError() | ConnectionError():
            return SourceUnreachable(
                f"{failed}: {_host(error)} cannot be reached; check the network, the region and the endpoint"
            )
        case _:
            return PermanentError(f"{failed}: boto3 says {type(error).__name__}; check the AWS settings")


def _host(error: BotoCoreError) -> str:
    host = urlsplit(str(error.kwargs.get("endpoint_url") or error.kwargs.get("proxy_url") or "")).hostname
    return host or "its address"
