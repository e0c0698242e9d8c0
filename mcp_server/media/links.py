"""Signed links to files of the output folder, for callers who do not see this server's disk.

A link names a file by its path below the folder and says until when it works; its signature says
that a server with the same secret made it. Nothing is stored: any server that has the secret and
shares the folder serves it.
"""

import math
import re
from enum import Enum, auto
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote, urlsplit

from mcp_server.clock import Clock
from mcp_server.errors import UnusableFileError
from mcp_server.media.files import UPLOADS, OutputFolder
from mcp_server.settings import Settings
from mcp_server.signing import Signer

FILES_PATH = "/files"
LINK_WORKS_S = 86_400
END_STEP_S = 3600  # links made within an hour are the same, so that browsers load a file once
_PROOF = re.compile(r"([0-9]{10,11})-([0-9a-f]{32})")


class NoFile(Enum):
    """Why a link leads to no file."""

    UNKNOWN = auto()
    LATE = auto()


class FileLinks:
    """Makes links to files of an output folder, and finds the file that a link names."""

    def __init__(
        self,
        address: str,
        signer: Signer,
        outputs: OutputFolder,
        clock: Clock,
        *,
        sandbox: bool,
    ) -> None:
        """Take the parts.

        Args:
            address: at which clients reach this server.
            sandbox: its links work nowhere else, and others not in it.
        """
        self.address = address
        self._signer = signer
        self._outputs = outputs
        self._clock = clock
        self._mode = "sandbox" if sandbox else "real"

    @classmethod
    def of(cls, settings: Settings, outputs: OutputFolder, clock: Clock) -> Self | None:
        """Those that the settings allow; None where they name no address or no secret."""
        keys = settings.derived_keys("links")
        if settings.public_url is None or not keys:
            return None
        return cls(settings.public_url, Signer(keys), outputs, clock, sandbox=settings.sandbox)

    def ends_at(self) -> int:
        """Until when a link that is made now works, in seconds since the epoch: a day or more."""
        return END_STEP_S * math.ceil((self._clock.now() + LINK_WORKS_S) / END_STEP_S)

    def link_to(self, path: str) -> str | None:
        """A link to a file of the folder; None for one that lies elsewhere."""
        name = self._outputs.recorded(path)
        if not _can_be_linked(name):
            return None
        ends_at = str(self.ends_at())
        proof = f"{ends_at}-{self._signer.sign(self._signed(ends_at, name))}"
        return f"{self.address}{FILES_PATH}/{proof}/{quote(name)}"

    def find(self, proof: str, name: str) -> Path | NoFile:
        """The file that the two parts of a link name, if a server of ours made it."""
        found = _PROOF.fullmatch(proof)
        if found is None:
            return NoFile.UNKNOWN
        ends_at, signature = found.groups()
        if not self._signer.has_signed(self._signed(ends_at, name), signature):
            return NoFile.UNKNOWN
        if int(ends_at) <= self._clock.now():
            return NoFile.LATE
        path = self._outputs.find(name)
        # The folder is its owner's, who may have put a link in the place of the file.
        if path is None or self._outputs.recorded(path) != name:
            return NoFile.UNKNOWN
        return path

    def path_of(self, link: str) -> Path | None:
        """The file that a link of ours leads to; None for a link to anything else.

        Raises:
            UnusableFileError: it is one of ours that leads to no file any more, or never did.
        """
        try:
            parts = urlsplit(link)
        except ValueError:
            return None
        start = f"{FILES_PATH}/"
        origin = f"{parts.scheme}://{parts.netloc}".lower()
        if origin != self.address or not parts.path.startswith(start):
            return None
        proof, _, name = parts.path.removeprefix(start).partition("/")
        found = self.find(proof, unquote(name))
        if isinstance(found, Path):
            return found
        why = "works no more" if found is NoFile.LATE else "leads to no file of this server"
        raise UnusableFileError(
            message=f"The link to the file {why}, so nothing was sent.",
            hint="Give the link whole, as an answer has it. get_job gives a new one to the file of"
            " a job; a file that was sent here must be sent again.",
        )

    def _signed(self, ends_at: str, name: str) -> str:
        """What the signature of a link is made of."""
        return f"{self._mode}\n{ends_at}\n{name}"


def _can_be_linked(name: str) -> bool:
    """Whether it is the name of a file in the folder itself, or in the one of what was sent."""
    *folders, file = name.split("/")
    return folders in ([], [UPLOADS]) and not file.startswith(".") and "\\" not in file
