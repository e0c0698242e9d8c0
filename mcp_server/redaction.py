"""Text without secrets, for logs; vendor text as one harmless line."""

import re

_SECRETS = (
    # Of a database's address, before what follows takes a part of it for an e-mail address.
    (re.compile(r"(?i)\b(postgres(?:ql)?://[^\s:/?@]*):[^\s/?]*@"), r"\1:***@"),
    (re.compile(r"(?i)\b(password=)[^\s&\"'<>]+"), r"\1***"),
    (re.compile(r"(?i)\bBearer\s+[^\s\"',;]+"), "Bearer ***"),
    (re.compile(r"\buseapi-mcp-user_[\w-]+"), "useapi-mcp-user_***"),
    (re.compile(r"\buser:\d+-(?!email:|pixverse:|bot:)[\w.~+/=-]+"), "user:***"),
    (re.compile(r"(?i)email:[0-9a-f]{6,}"), "email:***"),
    # Only from the start of a word: otherwise a long word would take quadratic time.
    (re.compile(r"(?<![\w.+-])[\w.+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)+"), "***@***"),
    # Of the addresses that this server signs, which are the right to what is there.
    (re.compile(r"(/files/[0-9]{10,11}-|/hook/[0-9a-z]+/)[0-9a-f]{32}"), r"\1***"),
    (re.compile(r"(/own-token/)[\w-]+"), r"\1***"),
    (re.compile(r"(https?://[^\s?#\"'<>]+)\?[^\s\"'<>]*"), r"\1?***"),
)
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)", re.DOTALL)
# Characters that Python takes for printable and that show nothing: they can hide a text.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159"
    "\U000e0100-\U000e01ef]"
)

_BLOB = re.compile(r"(?<=[A-Za-z0-9+/=_-]{40})[A-Za-z0-9+/=_-]{160,}")  # a file, not a word


def redact(text: str, token: str | None = None) -> str:
    """The text without tokens, e-mail addresses and the queries of signed URLs."""
    if token:
        text = text.replace(token, "***")
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def one_line(text: str, most: int = 300) -> str:
    """Vendor text as data: one line, cut, without control, ANSI, bidi and zero-width characters."""
    return _cut(_cleaned(text[: 20 * most]), most)


def quoted(text: str, most: int = 300) -> str:
    """Vendor text for a message: one line, with secrets masked before it is cut."""
    return _cut(redact(_cleaned(text[: 20 * most])), most)


def is_unseen(character: str) -> bool:
    """Whether a character shows nothing of its own, or is a space other than U+0020."""
    return not character.isprintable() or _UNSEEN.match(character) is not None


def _cleaned(text: str) -> str:
    text = _ANSI.sub("", text)
    kept = (" " if c.isspace() else "" if is_unseen(c) else c for c in text)
    return _BLOB.sub("…", " ".join("".join(kept).split()))


def _cut(line: str, most: int) -> str:
    return line if len(line) <= most else line[: most - 1] + "…"
