"""The addresses of a host, if all of them are on the public internet.

`ipaddress.is_global` alone is not enough: it differs between Python versions (3.11 calls
`::127.0.0.1`, `64:ff9b:1::1`, `fec0::1`, `192.0.0.8` and all of 6to4 global), and an IPv6 address
may contain an IPv4 address that is not public.
Sources: the IANA special-purpose registries; RFC 4291, 6052, 3056, 4380, 5214, 7526, 9637.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

RESOLVE_TIMEOUT_S = 10.0
MOST_LOOKUPS = 8  # at once

_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that is assigned; no mapped, local or multicast
_DENIED = tuple(
    map(
        ip_network,
        (
            "192.0.0.0/24",  # protocol assignments
            "192.88.99.0/24",  # 6to4 relays
            "2001::/23",  # protocol assignments, Teredo among them
            "2002::/16",  # 6to4, no longer in use (RFC 7526): an IPv4 address follows
            "3fff::/20",  # documentation
        ),
    )
)
_ISATAP = {0x00005EFE, 0x02005EFE}
# A name that no resolver reads as a number, or looks up in a local domain.
_HOST_NAME = re.compile(
    r"(?=.{4,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z][a-z0-9-]{0,61}[a-z0-9]",
    re.ASCII | re.IGNORECASE,
)

Resolver = Callable[[str], Awaitable[list[str]]]


class NotPublicError(ValueError):
    """The host is not a valid name, or not all of its addresses are on the public internet."""


class SystemResolver:
    """Gives all addresses of a host, in the order in which the system would try them.

    It asks in threads of its own: a name server that is silent holds one for half a minute, and the
    loop's few also look up the vendor's API.
    """

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MOST_LOOKUPS, thread_name_prefix="names")

    async def __call__(self, host: str) -> list[str]:
        """Look up a name.

        Raises:
            OSError: there is none, or no answer in time.
        """
        ask = partial(socket.getaddrinfo, host, 443, type=socket.SOCK_STREAM)
        async with asyncio.timeout(RESOLVE_TIMEOUT_S):
            found = await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def public_addresses(host: str, resolve: Resolver) -> list[str]:
    """The addresses of a host, or an address itself. The caller connects to these and no others.

    Raises:
        NotPublicError: at least one of them is not public.
        OSError: the host can't be resolved now.
    """
    if _is_address(host):
        found = [host]
    elif _HOST_NAME.fullmatch(host):
        found = await resolve(host)
        if not found:
            raise OSError("the name has no address")
    else:
        raise NotPublicError
    if not all(map(is_public, found)):
        raise NotPublicError
    return found


def is_public(text: str) -> bool:
    """Whether this is an address on the public internet; False if it is not an address."""
    if not _is_address(text):
        return False
    address = ip_address(text)
    return _is_public(address) and all(map(_is_public, _embedded(address)))


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        if address in _NAT64:
            return True  # if the address in it is: see `_embedded`
        if address not in _GLOBAL_UNICAST:
            return False
    denied = any(address in network for network in _DENIED)
    return address.is_global and not address.is_multicast and not denied


def _embedded(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses to which traffic for an IPv6 address may be delivered."""
    if isinstance(address, IPv4Address):
        return
    number = int(address)
    if address in _NAT64 or number >> 32 & 0xFFFFFFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFFFFFF)
