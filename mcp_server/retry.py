"""Whether and when a request is sent again.

| what happened                                            | read             | paid request     |
|----------------------------------------------------------|------------------|------------------|
| could not connect                                        | 3 tries          | 3 tries          |
| refused as too early, wait known and short               | wait, once more  | wait, once more  |
| refused as too early otherwise                           | error            | error            |
| cut or timed out after sending, 408, 5xx, unreadable 2xx | 3 tries          | never            |
| any other refusal                                        | error            | error            |
"""

from collections.abc import Callable
from enum import Enum

TRIES = 3
LONGEST_WAIT_S = 10.0
_FIRST_BACKOFF_S = 0.5  # doubled each time


class Outcome(Enum):
    """What is known of a request without a good answer."""

    NOT_SENT = "no byte of it left"
    RATE_LIMITED = "429: refused before any work was done"
    UNKNOWN = "it left, and may have been done"
    REFUSED = "it was answered, and sending it again would change nothing"


def pause_before_retry(
    outcome: Outcome,
    *,
    paid: bool,
    tries: int,
    vendor_wait_s: float | None,
    waited_before: bool,
    random: Callable[[], float],
) -> float | None:
    """Seconds to wait before sending again, or None: do not send again.

    Args:
        tries: the number of tries so far, 1 or more.
        vendor_wait_s: the wait the vendor asked for, if it named one.
        waited_before: whether it was sent again once already after the vendor's wait.
        random: a number from 0 to 1, for full jitter: then clients do not retry all at once.
    """
    if outcome is Outcome.RATE_LIMITED:
        short = vendor_wait_s is not None and vendor_wait_s <= LONGEST_WAIT_S
        return vendor_wait_s if short and not waited_before else None
    if outcome is Outcome.REFUSED or (outcome is Outcome.UNKNOWN and paid) or tries >= TRIES:
        return None
    return float(random() * _FIRST_BACKOFF_S * 2 ** (tries - 1))
