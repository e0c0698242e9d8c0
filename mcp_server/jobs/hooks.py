"""Addresses at which a vendor says that a job has changed, and the services that do.

What it sends is not read: a request at the right address is a reason to read the job now, and no
more than that. A job is read without it too, only less often.
"""

from typing import Self

from mcp_server.models import OUR_ID_PREFIX
from mcp_server.services.base import Order
from mcp_server.settings import Settings
from mcp_server.signing import Signer

HOOK_PATH = "/hook"
ASKED, HEARD = "hook", "hooked"
"""In a row's evidence: that it was sent with an address of ours, and that the vendor used it."""


class Hooks:
    """The addresses, and from which services they were used."""

    def __init__(self, address: str, signer: Signer) -> None:
        """Take the parts.

        Args:
            address: at which the vendor reaches this server.
        """
        self._address = address
        self._signer = signer
        self._services: set[str] = set()

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """Those that the settings ask for."""
        if not settings.webhooks or settings.public_url is None:
            return None
        return cls(settings.public_url, Signer(settings.derived_keys("hooks")))

    @staticmethod
    def are_for(order: Order) -> bool:
        """Whether an order is to be sent with one: nobody else is to be told of its job."""
        option = order.endpoint.options.get("reply_url")
        takes_one = option is not None and option.field not in order.body
        return takes_one and not order.endpoint.answers_when_done

    def address_of(self, row_id: str) -> str:
        """The address that the vendor is given for a submission."""
        name = row_id.removeprefix(OUR_ID_PREFIX)
        return f"{self._address}{HOOK_PATH}/{name}/{self._signer.sign(name)}"

    def row_of(self, name: str, proof: str) -> str | None:
        """The id of the submission whose address has these two parts; None: it is none of ours."""
        return OUR_ID_PREFIX + name if self._signer.has_signed(name, proof) else None

    def heard(self, service: str) -> None:
        """Note that a service has used an address."""
        self._services.add(service)

    def missed(self, service: str) -> None:
        """Note that a job of a service has ended, and its address was not used."""
        self._services.discard(service)

    def come_from(self, service: str) -> bool:
        """Whether a service is known to use the addresses."""
        return service in self._services
