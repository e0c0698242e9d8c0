"""An identity provider that a test owns: its keys, its metadata, and tokens right and wrong."""

import functools
import json
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

ISSUER = "https://login.example.com/realms/team"
PUBLIC_URL = "https://mcp.example.com"
AUDIENCE = f"{PUBLIC_URL}/mcp"
BOTH_SCOPES = "jobs:read jobs:submit"
METADATA = "/.well-known/oauth-authorization-server/realms/team"
Kind = Literal["rsa", "ec", "okp"]


def private_key(name: str, kind: Kind = "rsa") -> Any:
    """The private key of this name, the same for the whole run."""
    return _made(name, kind)


@functools.cache
def _made(name: str, kind: Kind) -> Any:
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    if kind == "okp":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def jwk(name: str, kind: Kind = "rsa", **members: Any) -> dict[str, Any]:
    """The public key of this name, as an issuer publishes it."""
    algorithms: dict[Kind, Any] = {"rsa": RSAAlgorithm, "ec": ECAlgorithm, "okp": OKPAlgorithm}
    data = json.loads(algorithms[kind].to_jwk(private_key(name, kind).public_key()))
    data.pop("key_ops", None)
    return {**data, "kid": name, "use": "sig", **members}


@dataclass
class Issuer:
    """An ASGI app in the place of an identity provider.

    Args:
        now: the time, for the tokens it issues.
        metadata: what each path of its metadata says.
        keys: what it publishes.
    """

    now: Any
    issuer: str = ISSUER
    keys: list[dict[str, Any]] = field(default_factory=lambda: [jwk("k1")])
    keys_path: str = "/keys"
    metadata: dict[str, Any] = field(default_factory=dict)
    is_down: bool = False
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.metadata:
            keys = f"https://login.example.com{self.keys_path}"
            self.metadata = {METADATA: {"issuer": self.issuer, "jwks_uri": keys}}

    @property
    def fetches(self) -> int:
        """How often its keys were asked for."""
        return self.asked.count(self.keys_path)

    @property
    def transport(self) -> httpx.AsyncBaseTransport:
        """A network on which there is nothing but this provider."""
        return httpx.ASGITransport(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        if self.is_down:
            raise httpx.ConnectError("connection refused")
        found: Any = self.metadata.get(scope["path"])
        if scope["path"] == self.keys_path:
            found = {"keys": self.keys}
        answer = JSONResponse(found or {}, status_code=404 if found is None else 200)
        await answer(scope, receive, send)

    def token(
        self,
        subject: str = "alice",
        *,
        key: str = "k1",
        kind: Kind = "rsa",
        algorithm: str = "RS256",
        head: dict[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A token that is right but for what is given. What is None is left out.

        Args:
            key: which one signs, and is named.
            head: of the token's header.
        """
        now = int(self.now())
        told = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": subject,
            "client_id": "a-client",
            "scope": BOTH_SCOPES,
            "iat": now,
            "exp": now + 300,
            **claims,
        }
        headers = {"kid": key, "typ": "at+jwt", **(head or {})}
        return jwt.encode(
            {name: value for name, value in told.items() if value is not None},
            private_key(key, kind),
            algorithm=algorithm,
            headers={name: value for name, value in headers.items() if value is not None},
        )
