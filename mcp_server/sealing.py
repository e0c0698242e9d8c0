"""Texts that are kept, or handed out, so that nobody else can read or change them: AES-256-GCM."""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class NotOpenedError(Exception):
    """It was sealed with another key, for something else, or was changed since."""


class Sealer:
    """Seals texts for one purpose, and opens them.

    Args:
        keys: 32 bytes each, made for that purpose alone; the first seals, all open.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = {hashlib.sha256(key).hexdigest()[:16]: key for key in keys}
        self.key_id: Final = next(iter(self._keys))
        """A name of the key that seals now, which tells nothing of it."""

    def seal(self, text: str, *about: str) -> str:
        """The text in letters that an address can hold.

        Args:
            about: what it belongs to; it opens for the same only.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._cipher(self._keys[self.key_id]).encrypt(nonce, text.encode(), _bound(about))
        return base64.urlsafe_b64encode(nonce + sealed).decode().rstrip("=")

    def open(self, sealed: str, *about: str) -> str:
        """The text that was sealed.

        Raises:
            NotOpenedError: none of the keys opens it.
        """
        from cryptography.exceptions import InvalidTag

        try:
            given = base64.b64decode(sealed.encode() + b"=" * (-len(sealed) % 4), b"-_", True)
        except (binascii.Error, UnicodeEncodeError):
            raise NotOpenedError from None
        nonce, rest = given[:_NONCE_BYTES], given[_NONCE_BYTES:]
        for key in self._keys.values() if len(nonce) == _NONCE_BYTES else ():
            try:
                return str(self._cipher(key).decrypt(nonce, rest, _bound(about)).decode())
            except InvalidTag:
                continue
        raise NotOpenedError

    @staticmethod
    def _cipher(key: bytes) -> "AESGCM":
        # It comes with mcp, and takes 20 ms to import: only who seals anything needs it.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(key)


def _bound(about: Sequence[str]) -> bytes:
    return json.dumps(about).encode()
