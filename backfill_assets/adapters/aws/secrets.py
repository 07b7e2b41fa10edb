"""Reading secrets from AWS Secrets Manager, many at once, through dagster-aws.

Here belongs how they are fetched; what is in a secret belongs to whoever asks. Importing this brings in Dagster.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import boto3
from dagster_aws.secretsmanager import SecretsManagerResource

from backfill_assets.adapters.aws.clients import SETTINGS_SECONDS, TRIES, patience
from backfill_assets.adapters.aws.refusals import told

AT_ONCE = 20
"""The most secrets that one request may ask for."""
READERS = 8

_REASONS = {
    "ResourceNotFoundException": "there is no such secret",
    "AccessDeniedException": "the credential may not read it; allow it secretsmanager:GetSecretValue",
    "DecryptionFailure": "it cannot be decrypted; allow kms:Decrypt with its key",
    "InvalidRequestException": "it is being deleted, or has no value",
}


@dataclass(frozen=True, kw_only=True)
class SecretText:
    """What a secret holds, or why it cannot be read."""

    text: str | None = field(default=None, repr=False)
    trouble: str | None = None


class SecretsManager(SecretsManagerResource):
    """dagster-aws's resource with time-outs, because settings are read at every tick of a sensor."""

    def get_client(self) -> Any:
        """See `SecretsManagerResource.get_client`."""
        return boto3.session.Session(profile_name=self.profile_name).client(
            "secretsmanager",
            region_name=self.region_name,
            endpoint_url=self.endpoint_url,
            use_ssl=self.use_ssl,
            verify=self.verify,
            aws_access_key_id=self.aws_access_key_id,
            aws_secret_access_key=self.aws_secret_access_key,
            aws_session_token=self.aws_session_token,
            config=patience(read_seconds=SETTINGS_SECONDS, connections=READERS),
        )


def read_secrets(names: Iterable[str]) -> Mapping[str, SecretText]:
    """The secrets of these names (or ARNs); one that cannot be read stops no other.

    Raises a `BackfillError` when none can be.
    """
    wanted = sorted(set(names))
    if not wanted:
        return {}
    with _told():
        client = _resource().get_client()
    batches = [wanted[start : start + AT_ONCE] for start in range(0, len(wanted), AT_ONCE)]
    with ThreadPoolExecutor(READERS) as readers:
        found = dict(chain.from_iterable(readers.map(lambda batch: list(_read(client, batch)), batches)))
    return {name: found.get(name, SecretText(trouble="AWS said nothing of it")) for name in wanted}


def _resource() -> SecretsManager:
    with warnings.catch_warnings():
        # dagster-aws calls all of its Secrets Manager resources beta.
        warnings.simplefilter("ignore")
        # The standard variables say where AWS is and whether its certificate is checked against another authority.
        return SecretsManager(max_attempts=TRIES, verify=None)


def _read(client: Any, names: Sequence[str]) -> Iterator[tuple[str, SecretText]]:
    asked: dict[str, Any] = {"SecretIdList": list(names)}
    with _told():
        while True:
            answer = client.batch_get_secret_value(**asked)
            for secret in answer.get("SecretValues", ()):
                yield from ((name, _text(secret)) for name in names if name in (secret["Name"], secret["ARN"]))
            for error in answer.get("Errors", ()):
                yield error["SecretId"], SecretText(trouble=_reason(str(error["ErrorCode"])))
            if not answer.get("NextToken"):
                return
            asked["NextToken"] = answer["NextToken"]


def _told() -> Any:
    return told(
        "the tenants' secrets cannot be read",
        rights="secretsmanager:BatchGetSecretValue, and secretsmanager:GetSecretValue on the tenants' secrets",
    )


def _text(secret: Mapping[str, Any]) -> SecretText:
    try:
        return SecretText(text=secret.get("SecretString") or secret.get("SecretBinary", b"").decode())
    except UnicodeDecodeError:
        return SecretText(trouble="it is not UTF-8 text")


def _reason(code: str) -> str:
    return _REASONS.get(code, f"AWS answered {code}")
