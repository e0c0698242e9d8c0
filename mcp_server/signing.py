"""Signatures that tell what our servers handed out, so that nothing of it need be stored."""

import hmac


class Signer:
    """Signs texts for one purpose, and knows what was signed.

    Args:
        keys: one or more, made for that purpose alone; the first signs, all are accepted.
    """

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        self._keys = keys

    def sign(self, text: str) -> str:
        """The signature of a text: 32 hexadecimal digits."""
        return _signature(self._keys[0], text)

    def has_signed(self, text: str, signature: str) -> bool:
        """Whether a server with one of the keys made this signature of this text."""
        given = signature.encode(errors="replace")
        return any(hmac.compare_digest(given, _signature(key, text).encode()) for key in self._keys)


def _signature(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode(errors="surrogatepass"), "sha256").hex()[:32]
