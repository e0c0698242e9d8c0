"""An identity provider that a test owns: its keys, its metadata, and tokens right and wrong."""

import functools
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.utils import base64url_encode
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


def private_jwk(name: str) -> dict[str, Any]:
    """The RSA key of this name, whole: what signs, and must never be published."""
    data = json.loads(RSAAlgorithm.to_jwk(private_key(name)))
    del data["key_ops"]
    return {**data, "kid": name}


@dataclass
class Issuer:
    """An ASGI app in the place of an identity provider.

    Args:
        now: the time, for the tokens it issues.
        metadata: what each path of its metadata says.
        keys: what it publishes.
    """

    now: Callable[[], float]
    issuer: str = ISSUER
    audience: str = AUDIENCE
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
            "aud": self.audience,
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


def unsigned(issuer: Issuer, **head: Any) -> str:
    """Header and claims of a right token, without a signature."""
    _, claims, _ = issuer.token().split(".")
    header = base64url_encode(json.dumps({"kid": "k1", "typ": "at+jwt", **head}).encode())
    return f"{header.decode()}.{claims}"


def signed_with_the_public_key(issuer: Issuer) -> str:
    """HS256, whose secret is what everybody knows."""
    public = private_key("k1").public_key()
    secret = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    text = unsigned(issuer, alg="HS256")
    signature = hmac.digest(secret, text.encode(), hashlib.sha256)
    return f"{text}.{base64url_encode(signature).decode()}"


def with_another_signature(issuer: Issuer) -> str:
    head, claims, _ = issuer.token("alice").split(".")
    return f"{head}.{claims}.{issuer.token('mallory').split('.')[2]}"


# Each token that is wrong, and words of the sentence that says why.
WRONG: dict[str, tuple[Callable[[Issuer], str], str]] = {
    "expired": (lambda it: it.token(exp=it.now() - 61), "expired"),
    "not yet valid": (lambda it: it.token(nbf=it.now() + 70), "not valid yet"),
    "foreign audience": (lambda it: it.token(aud="https://other.example.com"), "another server"),
    "foreign audiences": (
        lambda it: it.token(aud=[f"{it.audience}/", PUBLIC_URL]),
        "another server",
    ),
    "no audience": (lambda it: it.token(aud=None), "no `aud`"),
    "foreign issuer": (lambda it: it.token(iss=f"{it.issuer}/"), "another issuer"),
    "no issuer": (lambda it: it.token(iss=None), "no `iss`"),
    "no end": (lambda it: it.token(exp=None), "no `exp`"),
    "an end that is no time": (lambda it: it.token(exp="soon"), "`exp` is no time"),
    "an end that never comes": (lambda it: it.token(exp=float("inf")), "`exp` is no time"),
    "a beginning that is none": (lambda it: it.token(nbf=True), "`nbf` is no time"),
    "no subject": (lambda it: it.token(sub=None), "no `sub`"),
    "empty subject": (lambda it: it.token(""), "no `sub`"),
    "a subject that is no text": (lambda it: it.token(sub=7), "can't be read"),
    "alg none": (lambda it: f"{unsigned(it, alg='none')}.", "signed with one of"),
    "no alg": (lambda it: f"{unsigned(it)}.AAAA", "signed with one of"),
    "HS256 with the public key": (signed_with_the_public_key, "signed with one of"),
    "RS512": (lambda it: it.token(algorithm="RS512"), "signed with one of"),
    "its own key, a known name": (
        lambda it: it.token(key="mine", head={"kid": "k1"}),
        "not signed with its issuer's key",
    ),
    "another token's signature": (with_another_signature, "not signed with its issuer's key"),
    "an unknown key": (lambda it: it.token(key="mine"), "does not publish"),
    "ES256 by an RSA key's name": (
        lambda it: it.token(key="mine", kind="ec", algorithm="ES256", head={"kid": "k1"}),
        "does not publish",
    ),
    "no name of a key": (lambda it: it.token(head={"kid": None}), "by `kid` alone"),
    "its key in its header": (
        lambda it: it.token(key="mine", head={"kid": "k1", "jwk": jwk("mine")}),
        "by `kid` alone",
    ),
    "the address of its keys": (
        lambda it: it.token(head={"jku": "https://evil.example.com/keys"}),
        "by `kid` alone",
    ),
    "the address of its certificate": (
        lambda it: it.token(head={"x5u": "https://evil.example.com/cert"}),
        "by `kid` alone",
    ),
    "a refresh token": (lambda it: it.token(head={"typ": "refresh+jwt"}), "another kind"),
    "a typ that is no text": (lambda it: it.token(head={"typ": 5}), "another kind"),
    "opaque": (lambda _: "an-opaque-token", "not known here"),
    "dots": (lambda _: "..", "no signed JSON Web Token"),
    "encrypted, in five parts": (lambda it: f"{it.token()}.a.b", "not known here"),
    "a header that is nested without end": (
        lambda _: f"{base64url_encode(b'[' * 30_000).decode()}.e30.AAAA",
        "no signed JSON Web Token",
    ),
    "no base64": (lambda it: f"{it.token()}=!", "no signed JSON Web Token"),
    "the operator's, cut": (lambda _: "a-token-of-the-operato", "not known here"),
}
