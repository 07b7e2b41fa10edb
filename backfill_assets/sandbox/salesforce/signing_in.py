"""Signing in at Salesforce: OAuth 2.0 by password and by client credentials.

Here belongs who gets a token, and how one who does not is told. Which tokens are good belongs to `sessions.py`.
"""

from collections.abc import Mapping
from hmac import compare_digest

from starlette.responses import Response

from backfill_assets.sandbox.answering import as_json
from backfill_assets.sandbox.salesforce.account import SERVICE, credentials
from backfill_assets.sandbox.world import World

SECURITY_TOKEN = "stand-in-security-token"  # noqa: S105 - everybody's, and optional


def sign_in(world: World, tenant: str, host: str, form: Mapping[str, str]) -> Response:
    """Answer a request for a token; `host` is the sandbox's own address."""
    if refused := _refused(credentials(tenant), form):
        error, description = refused
        return as_json({"error": error, "error_description": description}, status=400)
    instance = f"{host}/{SERVICE}/{tenant}"
    return as_json(
        {
            "access_token": world.sessions.open(tenant),
            "instance_url": instance,
            "id": f"{instance}/id/00D5f000000{tenant[:4]}/0055f000000{tenant[:4]}",
            "token_type": "Bearer",
            "issued_at": str(int(world.now() * 1000)),
            "signature": "c3RhbmQtaW4=",
        }
    )


def _refused(expected: Mapping[str, str], form: Mapping[str, str]) -> tuple[str, str] | None:
    if form.get("client_id") != expected["client_id"]:
        return "invalid_client_id", "client identifier invalid"
    if not compare_digest(form.get("client_secret", "").encode(), expected["client_secret"].encode()):
        return "invalid_client", "invalid client credentials"
    match form.get("grant_type"):
        case "client_credentials":
            return None
        case "password":
            passwords = (expected["password"], expected["password"] + SECURITY_TOKEN)
            is_right = form.get("username") == expected["username"] and form.get("password") in passwords
            return None if is_right else ("invalid_grant", "authentication failure")
    return "unsupported_grant_type", "grant type not supported"
