"""Why the vendor could not be reached, and which setting of the environment has to do with it."""

import ssl
from collections.abc import Iterator
from socket import gaierror
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from mcp_server.errors import SettingsError
from mcp_server.redaction import quoted

_GENERAL_HINT = "Check the network, its proxy and USEAPI_BASE_URL, then call again."
_CERTIFICATE_HINT = (
    "Check the computer's date. Where a proxy or virus scanner opens https, name the file with its"
    " authority in SSL_CERT_FILE, then restart this server."
)


def why_unreachable(error: Exception, origin: str) -> tuple[str, str]:
    """What kept a request from leaving, and what to do about it; neither holds a secret."""
    causes = list(_causes(error))
    certificate = next((e for e in causes if isinstance(e, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        why = quoted(certificate.verify_message, 100)
        return f"its certificate is not trusted: {why}", _CERTIFICATE_HINT
    name = _proxy_variable(origin)
    via = f"by the proxy that {name} names: " if name else ""
    if isinstance(error, httpx.ProxyError):
        return f"{via}{quoted(str(error), 100)}", f"Correct {name or 'the proxy'}, then restart."
    hint = f"Check that proxy, and the network; then call again, or unset {name} and restart."
    if any(isinstance(e, gaierror) for e in causes):
        return f"{via}the name was not found", hint if name else _GENERAL_HINT
    if any(isinstance(e, ConnectionRefusedError) for e in causes):
        return f"{via}the connection was refused", hint if name else _GENERAL_HINT
    return f"{via}{type(error).__name__}", _GENERAL_HINT


def wrong_proxy() -> SettingsError:
    """The error for variables whose proxies or exceptions httpx can't use, with their names."""
    names = sorted(f"{scheme.upper()}_PROXY" for scheme, url in getproxies().items() if url)
    return SettingsError(
        message=f"What {' or '.join(names)} says of proxies can't be used, so nothing was sent.",
        hint="Correct or unset it for this server, then restart it: an http:// proxy works, and in"
        " NO_PROXY names of hosts and single addresses. A SOCKS proxy works once the package"
        " socksio is installed beside useapi-mcp.",
    )


def _proxy_variable(origin: str) -> str | None:
    """The variable whose proxy is used for this origin."""
    parts = urlsplit(origin)
    proxies = {scheme for scheme, url in getproxies().items() if url}
    if proxy_bypass(parts.hostname or ""):
        return None
    scheme = parts.scheme if parts.scheme in proxies else "all"
    return f"{scheme.upper()}_PROXY" if scheme in proxies else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and all that led to it."""
    yield error
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from _causes(one)
    cause = error.__cause__ or error.__context__
    if cause is not None:
        yield from _causes(cause)
