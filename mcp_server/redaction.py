"""Keeps secrets out of logs and keeps vendor text down to one harmless line."""

import logging
import re
import sys
import unicodedata

_SECRETS = (
    (re.compile(r"(?i)\bBearer\s+[^\s\"',;]+"), "Bearer ***"),
    (re.compile(r"\buser:\d+-(?!email:|pixverse:|bot:)[\w.~+/=-]+"), "user:***"),
    (re.compile(r"(?i)email:[0-9a-f]{6,}"), "email:***"),
    (re.compile(r"[\w.+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+"), "***@***"),
    (re.compile(r"(https?://[^\s?#\"'<>]+)\?[^\s\"'<>]*"), r"\1?***"),
)
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)", re.DOTALL)


def redact(text: str, token: str | None = None) -> str:
    """The text without tokens, e-mail addresses and the queries of signed URLs."""
    if token:
        text = text.replace(token, "***")
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def one_line(text: str, most: int = 300) -> str:
    """Vendor text as data: one line, cut, without control, ANSI, bidi and zero-width characters."""
    text = _ANSI.sub("", text[: 20 * most])
    kept = (
        " " if c.isspace() else "" if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co"} else c
        for c in text
    )
    line = " ".join("".join(kept).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def quoted(text: str) -> str:
    """Vendor text for a sentence of ours: one line, e-mail addresses masked."""
    return redact(one_line(text))


class RedactingFormatter(logging.Formatter):
    """Formats a record whole, traceback included, and only then takes the secrets out."""

    def __init__(self, token: str | None) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._token = token

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record), self._token)


def log_to_stderr(level: str, token: str | None) -> None:
    """One handler on the root logger, to stderr: stdout belongs to the protocol."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(token))
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(level)
    for noisy in ("httpx", "httpcore", "uvicorn.access"):  # they log whole URLs, ids and all
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.root.level))
