"""The operator's identity provider: reads its keys, and tells whose an access token is.

Imported only where USEAPI_OAUTH_ISSUER is set: nobody else pays for PyJWT and cryptography.
"""

import asyncio
import contextlib
import json
import logging
import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx
import jwt
from mcp.server.auth.provider import AccessToken

from mcp_server import __version__
from mcp_server.clock import Clock
from mcp_server.http.auth import NoKeysError, WrongTokenError, user_id
from mcp_server.logs import seldom_warning
from mcp_server.redaction import one_line
from mcp_server.settings import is_https, is_loopback_http

log = logging.getLogger(__name__)

# By the type of the key, never by what the token says alone: `none`, or HS256 with the public key
# as its secret, can't come out of this table.
_ALGORITHMS: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "PS256"),
    ("EC", "P-256"): ("ES256",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
_ALLOWED = frozenset(name for names in _ALGORITHMS.values() for name in names)
_SHORTEST_RSA_BITS = 2048
# RFC 9068 asks for `at+jwt`, but Keycloak, Auth0 and Entra write `JWT` by default, and some write
# nothing, which means the same. An ID token says `JWT` too: it is refused by its audience, which is
# its client.
_TYPES = frozenset({"at+jwt", "jwt"})
_FOREIGN_KEYS = ("jwk", "jku", "x5u", "crit")  # a key, or rules, that the token brings itself
_LEEWAY_S = 60.0  # clocks differ
_FETCH_AGAIN_S = 30.0  # however many unknown keys are named
_FIRST_FETCH_AGAIN_S = 5.0
_KEYS_ARE_OLD_S = 600.0  # so long a key that was taken back is still taken
_FETCH_S, _REQUEST_S = 10.0, 5.0
_LONGEST_BYTES = 512 * 1024


class IdentityProvider:
    """Verifies the access tokens (JWT, RFC 9068) of one issuer for one audience.

    Its keys are read when they are first needed, when a token names one that is not known, and
    when they are ten minutes old. If it can't be reached then, the known ones are used on.

    Args:
        issuer: letter by letter as its metadata and its tokens have it.
        audience: what `aud` of a token must be, or hold.
        transport: for tests; the network otherwise.
    """

    def __init__(
        self,
        issuer: str,
        audience: str,
        clock: Clock,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.issuer = issuer
        self._audience = audience
        self._clock = clock
        self._transport = transport
        self._keys: dict[tuple[str, str], Any] = {}  # by their id and an algorithm
        self._read_at = self._tried_at = float("-inf")
        self._was_read = False  # at the last try
        self._reading: asyncio.Task[None] | None = None
        self._warn = seldom_warning(log)

    async def has_keys(self, longest_s: float) -> bool:
        """Whether tokens can be verified; where not, the keys are waited for so long."""
        if not self._keys:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(longest_s):
                    await self._refresh()
        return bool(self._keys)

    async def verified(self, token: str) -> AccessToken:
        """Who a token was issued to, without the token itself.

        Raises:
            WrongTokenError: it is not one of this issuer for this server, or not valid now.
            NoKeysError: the issuer's keys are not known, so nobody can say.
        """
        try:
            head = jwt.get_unverified_header(token)
        except (jwt.InvalidTokenError, RecursionError):  # older PyJWT raises the second, too
            raise WrongTokenError("The token is no signed JSON Web Token.") from None
        kind, algorithm, key_id = head.get("typ", "JWT"), head.get("alg"), head.get("kid")
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
            raise WrongTokenError("The token is no access token: its `typ` says another kind.")
        if not isinstance(algorithm, str) or algorithm not in _ALLOWED:
            taken = ", ".join(sorted(_ALLOWED))
            raise WrongTokenError(f"The token must be signed with one of {taken}.")
        if not isinstance(key_id, str) or any(name in head for name in _FOREIGN_KEYS):
            raise WrongTokenError("The token must name one of its issuer's keys, by `kid` alone.")
        claims = self._claims(token, algorithm, await self._key(key_id, algorithm))
        return AccessToken(
            token="",
            client_id=_text(claims.get("client_id")) or _text(claims.get("azp")),
            scopes=_scopes(claims),
            expires_at=int(claims["exp"]),
            subject=user_id(self.issuer, claims["sub"]),
            claims={"iss": self.issuer},
        )

    def _claims(self, token: str, algorithm: str, key: Any) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audience,
                issuer=self.issuer,
                options={
                    "require": ["iss", "aud", "exp", "sub"],
                    # Checked below, by our own clock.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidSignatureError:
            raise WrongTokenError("The token is not signed with its issuer's key.") from None
        except jwt.InvalidAudienceError:
            raise WrongTokenError(
                f"The token was issued for another server: its `aud` must be {self._audience}."
            ) from None
        except jwt.InvalidIssuerError:
            raise WrongTokenError(
                f"The token is of another issuer: its `iss` must be {self.issuer}."
            ) from None
        except jwt.MissingRequiredClaimError as error:
            raise WrongTokenError(f"The token has no `{error.claim}`.") from None
        except jwt.InvalidTokenError:
            raise WrongTokenError("The token can't be read.") from None
        now = self._clock.now()
        if not claims["sub"]:
            raise WrongTokenError("The token has no `sub`.")
        if now >= _moment(claims, "exp") + _LEEWAY_S:
            raise WrongTokenError("The token has expired.")
        if "nbf" in claims and now < _moment(claims, "nbf") - _LEEWAY_S:
            raise WrongTokenError("The token is not valid yet.")
        return claims

    async def _key(self, key_id: str, algorithm: str) -> Any:
        is_old = self._clock.elapsed() - self._read_at >= _KEYS_ARE_OLD_S
        if is_old or (key_id, algorithm) not in self._keys:
            await self._refresh()
        key = self._keys.get((key_id, algorithm))
        if key is None and not self._was_read:
            raise NoKeysError(self._next_try_s())
        if key is None:
            raise WrongTokenError(
                "The token is signed with a key that its issuer does not publish."
            )
        return key

    def _next_try_s(self) -> float:
        """Seconds until the keys may be asked for again."""
        pause_s = _FETCH_AGAIN_S if self._keys else _FIRST_FETCH_AGAIN_S
        return max(0.0, self._tried_at + pause_s - self._clock.elapsed())

    async def _refresh(self) -> None:
        """Read the keys, with whoever does so already; not soon after the last try."""
        if self._reading is None:
            if self._next_try_s() > 0:
                return
            self._tried_at = self._clock.elapsed()
            self._reading = asyncio.create_task(self._read())
            self._reading.add_done_callback(self._is_done)
        # Who leaves does not take the keys away from the others.
        await asyncio.shield(self._reading)

    def _is_done(self, _: asyncio.Task[None]) -> None:
        self._reading = None

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_S):
                self._keys = await self._published_keys()
        except (_UnreadableError, TimeoutError) as error:
            self._was_read = False
            why = str(error) or "it took too long"
            self._warn(f"The keys of {self.issuer} (USEAPI_OAUTH_ISSUER) can't be read: {why}")
        else:
            self._was_read = True
            self._read_at = self._clock.elapsed()

    async def _published_keys(self) -> dict[tuple[str, str], Any]:
        try:
            client = httpx.AsyncClient(
                timeout=_REQUEST_S,
                headers={"User-Agent": f"useapi-mcp/{__version__}"},
                transport=self._transport,
                # A proxy of the environment is used, but not to reach this machine itself.
                trust_env=not is_loopback_http(self.issuer),
            )
        except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
            raise _UnreadableError(
                f"a proxy or a CA file of the environment can't be used ({type(error).__name__})"
            ) from None
        async with client:
            address = await self._keys_address(client)
            found = await _json(client, address)
            listed = found.get("keys")
            keys = {
                (str(data["kid"]), algorithm): key
                for data in (listed if isinstance(listed, list) else ())
                if isinstance(data, dict) and isinstance(data.get("kid"), str)
                for algorithm, key in _usable(data)
            }
        if not keys:
            raise _UnreadableError(f"{address} holds none that can be used")
        return keys

    async def _keys_address(self, client: httpx.AsyncClient) -> str:
        """Where the keys are, by the first metadata found that is this issuer's own."""
        reasons = []
        for address in metadata_addresses(self.issuer):
            try:
                metadata = await _json(client, address)
            except _UnreadableError as error:
                reasons.append(str(error))
                continue
            if metadata.get("issuer") != self.issuer:
                named = one_line(str(metadata.get("issuer")), 200)
                reasons.append(f"{address} is of the issuer {named!r}: set exactly that")
                continue
            keys = metadata.get("jwks_uri")
            if isinstance(keys, str) and (is_https(keys) or is_loopback_http(keys)):
                return keys
            reasons.append(f"{address} names no https address of keys")
        raise _UnreadableError("; ".join(reasons))


class _UnreadableError(Exception):
    """The issuer's metadata or keys can't be had; the text says why."""


def metadata_addresses(issuer: str) -> tuple[str, ...]:
    """Where an issuer's metadata may be: RFC 8414, and OpenID Connect in both of its forms."""
    parts = urlsplit(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    return tuple(
        dict.fromkeys(
            (
                f"{origin}/.well-known/oauth-authorization-server{path}",
                f"{origin}/.well-known/openid-configuration{path}",
                f"{origin}{path}/.well-known/openid-configuration",
            )
        )
    )


async def _json(client: httpx.AsyncClient, address: str) -> dict[str, Any]:
    """The JSON object at an address. A redirect is not followed: it could lead to plain http."""
    body = bytearray()
    try:
        async with client.stream("GET", address) as answer:
            if answer.status_code != httpx.codes.OK:
                raise _UnreadableError(f"{address} answered {answer.status_code}")
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _LONGEST_BYTES:
                    raise _UnreadableError(f"{address} answered with more than metadata")
        found = json.loads(body)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
        raise _UnreadableError(f"{address} gave no answer ({type(error).__name__})") from None
    if not isinstance(found, dict):
        raise _UnreadableError(f"{address} answered with something else than an object")
    return found


def _usable(data: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """The algorithms that a published key is for, each with the key; none if it is not for us."""
    kind, curve, operations = data.get("kty"), data.get("crv"), data.get("key_ops", ["verify"])
    if data.get("use", "sig") != "sig" or "d" in data:  # for encrypting, or a private key
        return []
    if not isinstance(operations, list) or "verify" not in operations:
        return []
    algorithms = _ALGORITHMS.get((str(kind), None if kind == "RSA" else str(curve)), ())
    usable = []
    for algorithm in algorithms:
        if data.get("alg", algorithm) != algorithm:
            continue
        try:
            key = jwt.PyJWK(dict(data), algorithm).key
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError):
            continue
        if kind == "RSA" and key.key_size < _SHORTEST_RSA_BITS:
            continue
        usable.append((algorithm, key))
    return usable


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise WrongTokenError(f"The token's `{name}` is no time.")
    return value


def _scopes(claims: Mapping[str, Any]) -> list[str]:
    """The scopes a token grants: `scope` (RFC 9068), or `scp` as Entra and Okta call it."""
    given = claims.get("scope", claims.get("scp", ""))
    words = given.split() if isinstance(given, str) else given
    return [word for word in map(_text, words) if word] if isinstance(words, list) else []


def _text(value: object) -> str:
    """Text as OAuth has it, which is ASCII; half a character would break what is made of it."""
    return value if isinstance(value, str) and value.isascii() else ""
