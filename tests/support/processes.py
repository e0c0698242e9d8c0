"""Several server processes in one event loop: a kernel's locks for them, and sudden death."""

import asyncio

import httpx

from tests.support.harness import Network, VirtualClock


class Kernel:
    """Hands out the key locks of processes that share a journal."""

    def __init__(self) -> None:
        self.holders: dict[str, object] = {}
        self.lost: set[str] = set()  # keys of which somebody lost the claim without knowing

    def lose_all(self) -> None:
        """What a lock file that goes does: nobody holds anything, and nobody is told."""
        self.lost |= self.holders.keys()
        self.holders.clear()

    def process(self) -> "ProcessLocks":
        return ProcessLocks(self.holders)


class ProcessLocks:
    """What one process has of them; the kernel drops it all when the process ends."""

    def __init__(self, holders: dict[str, object]) -> None:
        self._holders = holders

    def try_lock(self, key: str) -> bool:
        if key in self._holders:
            return False
        self._holders[key] = self
        return True

    def holds(self, key: str) -> bool:
        return self._holders.get(key) is self

    def unlock(self, key: str) -> None:
        if self._holders.get(key) is self:
            del self._holders[key]

    def close(self) -> None:
        for key in [key for key, holder in self._holders.items() if holder is self]:
            del self._holders[key]


class DeadError(BaseException):
    """What a dead process gets when it tries to go on."""


class Life:
    """A process that can die at any moment.

    What it has sent goes on without it. From then on it sends nothing, writes nothing (every write
    to the journal asks its clock first) and holds no lock, though its tasks still lie about.
    """

    def __init__(self, kernel: Kernel, network: Network, clock: VirtualClock) -> None:
        self.locks = kernel.process()
        self.clock = _MortalClock(clock, self)
        self.network = _MortalNetwork(network, self)
        self.is_over = False

    def end(self) -> None:
        self.is_over = True
        self.locks.close()


class _MortalClock(VirtualClock):
    def __init__(self, clock: VirtualClock, life: Life) -> None:
        super().__init__()
        self._clock = clock
        self._life = life

    def now(self) -> float:
        if self._life.is_over:
            raise DeadError
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        if self._life.is_over:
            await asyncio.Event().wait()


class _MortalNetwork(httpx.AsyncBaseTransport):
    def __init__(self, network: Network, life: Life) -> None:
        self._network = network
        self._life = life

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self._life.is_over:
            request.extensions["life"] = self._life
            try:
                answer = await self._network.handle_async_request(request)
            except httpx.TransportError:
                if not self._life.is_over:
                    raise
            else:
                if not self._life.is_over:
                    return answer
        await asyncio.Event().wait()
        raise AssertionError("the dead don't go on")
