"""A vendor that answers as a test tells it to, for what the sandbox can't show."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send


@dataclass(frozen=True)
class Says:
    """An answer: a body that is JSON or bytes."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class Scripted:
    """An ASGI app that gives prepared answers by "METHOD /raw/path?query".

    Of a list, each answer is given once and the last for ever (an answer that is a list is
    `Says([…])`). What is not prepared is a 404.
    """

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self._answers = {
            asked: list(given) if isinstance(given, list) else [given]
            for asked, given in answers.items()
        }
        self.asked: list[str] = []
        self.bodies: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = b""
        while True:
            message = await receive()
            sent += message.get("body", b"")
            if not message.get("more_body"):
                break
        query = scope["query_string"]
        path = scope["raw_path"] + (b"?" + query if query else b"")
        asked = f"{scope['method']} {path.decode()}"
        self.asked.append(asked)
        if sent:
            self.bodies.append(json.loads(sent))
        given = self._answers.get(asked, [Says({"error": "Not found"}, 404)])
        answer = given.pop(0) if len(given) > 1 else given[0]
        if not isinstance(answer, Says):
            answer = Says(answer)
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
