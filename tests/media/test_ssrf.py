"""Addresses: what is not on the public internet is refused, however it is written."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from mcp_server.media.ssrf import NotPublicError, SystemResolver, is_public, public_addresses
from tests.support.corpora import HOSTILE_ADDRESSES, PUBLIC_ADDRESSES


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_a_public_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        # patterns.md 5: Python 3.11.7 calls each of these global
        "::127.0.0.1",
        "64:ff9b:1::1",
        "192.0.0.8",
        "fec0::1",
        # carrying an address that is not public
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "::ffff:127.0.0.1",
        "2600::5efe:7f00:1",
        # none at all
        "",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "8.8.8.8/32",
        "8.8.8.8 ",
    ],
)
def test_an_address_in_disguise_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("addresses", HOSTILE_ADDRESSES)
async def test_one_address_that_is_not_public_spoils_a_name(addresses: tuple[str, ...]) -> None:
    async def resolve(host: str) -> list[str]:
        return list(addresses)

    with pytest.raises(NotPublicError):
        await public_addresses("media.example.com", resolve)


@pytest.mark.parametrize(
    "host",
    ["localhost", "metadata", "127.1", "0", "0x7f000001", "a..b.com", "-.com", "a.b-", "a.1", ""],
)
async def test_a_name_that_is_none_is_never_resolved(host: str) -> None:
    async def resolve(host: str) -> list[str]:
        raise AssertionError(host)

    with pytest.raises(NotPublicError):
        await public_addresses(host, resolve)


async def test_an_address_is_its_own_and_is_not_resolved() -> None:
    async def resolve(host: str) -> list[str]:
        raise AssertionError(host)

    assert ["8.8.8.8"] == await public_addresses("8.8.8.8", resolve)


async def test_a_name_without_an_address_is_a_failure_of_the_moment() -> None:
    async def resolve(host: str) -> list[str]:
        return []

    with pytest.raises(OSError, match="no address"):
        await public_addresses("media.example.com", resolve)


def test_the_systems_resolver_tells_each_address_once() -> None:
    """It works in a thread, so in real time; this name needs no network."""
    found = asyncio.run(SystemResolver()("localhost"))

    assert {"127.0.0.1", "::1"} >= set(found)
    assert len(set(found)) == len(found) >= 1


def test_names_of_media_hosts_are_looked_up_in_no_thread_that_others_wait_for() -> None:
    """A silent name server holds a thread for half a minute, and the loop has few."""

    async def work() -> list[str]:
        taken = ThreadPoolExecutor(1)
        taken.shutdown()  # as if all were busy for ever
        asyncio.get_running_loop().set_default_executor(taken)
        return await SystemResolver()("localhost")

    assert asyncio.run(work())
