"""What an error of AWS means: which of ours it is, and a sentence that holds nothing of AWS's own text."""

import pytest
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    ProxyConnectionError,
    ReadTimeoutError,
    SSLError,
)

from backfill_assets.adapters.aws.refusals import told
from backfill_assets.errors import BackfillError, CredentialRefused, PermanentError, SourceUnreachable, TransientError

HOST = "https://key:hush-hush@s3.example.com:9000/bucket?hush-hush"


def sentence(error: Exception, *, absent: str = "make it") -> tuple[type[BackfillError], str]:
    with pytest.raises(BackfillError) as refused, told("x cannot be read", rights="s3:Look", absent=absent):
        raise error
    return type(refused.value), str(refused.value)


def answer(code: str, status: int, retries: int = 0) -> ClientError:
    meta = {"HTTPStatusCode": status, "RetryAttempts": retries}
    return ClientError({"Error": {"Code": code, "Message": "hush-hush"}, "ResponseMetadata": meta}, "Look")


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (
            answer("ExpiredToken", 400),
            CredentialRefused,
            "the credential is not accepted (ExpiredToken); check AWS",
        ),
        (answer("UnrecognizedClientException", 400), CredentialRefused, "the credential is not accepted (Unrec"),
        (
            answer("AccessDeniedException", 400),
            CredentialRefused,
            "not do that (AccessDeniedException); allow it s3:",
        ),
        (answer("Odd", 403), CredentialRefused, "the credential is refused (Odd); check it, and allow it s3:Look"),
        (answer("SlowDown", 503, 2), TransientError, "too busy or failed (SlowDown) 3 times in a row; try again later"),
        (answer("ThrottlingException", 400), TransientError, "too busy or failed (ThrottlingException) just now; try"),
        (answer("Odd", 500), TransientError, "too busy or failed (Odd) just now; try again later"),
        (answer("NoSuchBucket", 404), PermanentError, "x cannot be read: make it"),
        (answer("ResourceNotFoundException", 400), PermanentError, "x cannot be read: make it"),
        (answer("Odd", 400), PermanentError, "the service answered Odd (status 400)"),
        (NoCredentialsError(), CredentialRefused, "no AWS credential was found; set AWS_ACCESS_KEY_ID"),
        (NoRegionError(), PermanentError, "no AWS region is set; set AWS_DEFAULT_REGION"),
        (ProfileNotFound(profile="hush-hush"), PermanentError, "no AWS profile of the name in AWS_PROFILE"),
        (EndpointConnectionError(endpoint_url=HOST), SourceUnreachable, ": s3.example.com cannot be reached; check"),
        (ConnectTimeoutError(endpoint_url=HOST), SourceUnreachable, ": s3.example.com cannot be reached; check"),
        (ProxyConnectionError(proxy_url=HOST), SourceUnreachable, ": s3.example.com cannot be reached; check"),
        (SSLError(endpoint_url=HOST, error="x"), SourceUnreachable, ": s3.example.com cannot be reached; check"),
        (ReadTimeoutError(endpoint_url=HOST), TransientError, "the connection broke or took too long; try again later"),
        (
            IncompleteReadError(actual_bytes=1, expected_bytes=2),
            TransientError,
            "the connection broke or took too long",
        ),
        (BotoCoreError(), PermanentError, "boto3 says BotoCoreError; check the AWS settings"),
    ],
)
def test_an_error_of_aws_is_told_as_one_of_ours(error: Exception, kind: type[BackfillError], words: str) -> None:
    found, told_as = sentence(error)
    assert found is kind
    assert told_as.startswith("x cannot be read: ")
    assert words in told_as
    assert "hush" not in told_as


def test_what_is_absent_without_a_word_about_it_is_told_by_its_code() -> None:
    assert sentence(answer("NoSuchKey", 404), absent="")[1].startswith(
        "x cannot be read: the service answered NoSuchKey"
    )


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), told("x cannot be read", rights=""):
        _ = 1 / 0
