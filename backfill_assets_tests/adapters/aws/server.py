"""AWS for the tests: S3, DynamoDB and Secrets Manager over real HTTP, each request's key and signature checked."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import Any
from uuid import uuid4

import boto3
import httpx
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

REGION = "eu-central-1"
EVERYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}


@dataclass(frozen=True, kw_only=True)
class Keys:
    """One user's key."""

    key_id: str
    secret: str


@dataclass(frozen=True, kw_only=True)
class Aws:
    """A running server with two users: `owner`, who may do everything, and `guest`, who may do nothing."""

    endpoint: str
    owner: Keys
    guest: Keys

    def environ(self, keys: Keys | None = None) -> Mapping[str, str]:
        """The variables with which boto3 finds this server, as the owner unless told otherwise."""
        keys = keys or self.owner
        return {
            "AWS_ACCESS_KEY_ID": keys.key_id,
            "AWS_SECRET_ACCESS_KEY": keys.secret,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def user_who_may(self, *actions: str) -> Keys:
        """A new user who may do this, to everything."""
        iam, name = self.client("iam"), uuid4().hex
        allowed = [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]
        keys = _user(iam, name)
        policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
        iam.put_user_policy(UserName=name, PolicyName="some", PolicyDocument=policy)
        return keys

    def client(self, service: str) -> Any:
        """A client of the owner, for arranging what a test needs."""
        return _client(service, self.endpoint, self.owner)


@contextmanager
def running_aws() -> Iterator[Aws]:
    """Run a server on a free port of 127.0.0.1."""
    # One request at a time: moto checks the condition of a write and writes in two steps, which S3 does in one.
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=False, request_handler=_Quiet)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield _with_users(f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(MotoRequestHandler):
    def log(self, *_: Any) -> None:
        """Tests have nothing to say to the terminal."""


def _with_users(endpoint: str) -> Aws:
    iam = _client("iam", endpoint, Keys(key_id="first", secret="first"))
    owner, guest = (_user(iam, name) for name in ("owner", "guest"))
    iam.put_user_policy(UserName="owner", PolicyName="everything", PolicyDocument=json.dumps(EVERYTHING))
    # From now on every request is checked.
    httpx.post(f"{endpoint}/moto-api/reset-auth", content=b"0").raise_for_status()
    return Aws(endpoint=endpoint, owner=owner, guest=guest)


def _user(iam: Any, name: str) -> Keys:
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Keys(key_id=key["AccessKeyId"], secret=key["SecretAccessKey"])


def _client(service: str, endpoint: str, keys: Keys) -> Any:
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=keys.key_id,
        aws_secret_access_key=keys.secret,
    )
