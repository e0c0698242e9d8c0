"""What the vendor sends to a `replyUrl`: a POST of the job's record each time that it changes.

Google Flow: on created, started, completed and failed. PixVerse: progress, until it is complete or
fails. Dreamina: once it has completed or failed; *assumed* that it sends the record, for no page
shows what. No signature, no retry and no order is documented, so there is none.
"""

import asyncio
from collections.abc import Awaitable, Callable

from mcp_server.sandbox.state import Accepted

Record = Callable[[Accepted], Awaitable[bytes]]
Post = Callable[[str, bytes], Awaitable[None]]

# When each is sent, as parts of the time that a job takes.
_MOMENTS = {"google-flow": (0.0, 0.25, 1.0), "pixverse": (0.25, 0.5, 0.75, 1.0), "dreamina": (1.0,)}


class Callbacks:
    """Calls the `replyUrl` of what was ordered, while the event loop runs.

    Args:
        record: the record of a job, as a GET of it answers.
        post: sends this body to this address; what comes of it is nobody's concern.
    """

    def __init__(self, job_seconds: float, record: Record, post: Post) -> None:
        self._job_seconds = job_seconds
        self._record = record
        self._post = post
        self._tasks: set[asyncio.Task[None]] = set()

    def accepted(self, work: Accepted) -> None:
        """Begin to tell of a job, if its order named an address."""
        url = work.body.get("replyUrl")
        if isinstance(url, str) and work.job_id is not None:
            task = asyncio.get_running_loop().create_task(self._tell(work, url))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tell(self, work: Accepted, url: str) -> None:
        before = 0.0
        for moment in _MOMENTS.get(work.service, (1.0,)):
            await asyncio.sleep((moment - before) * self._job_seconds)
            before = moment
            await self._post(url, await self._record(work))
