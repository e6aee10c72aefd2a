"""Who is let in: this machine's own page, which knows the token. All others are refused.

A page of another site can make a browser send requests here, even under this machine's name
(DNS rebinding): hence Host and Origin are checked, and nothing is told without the token.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import JSONResponse

TOKEN_HEADER = b"x-esegeta-token"
NAMES = ("127.0.0.1", "localhost")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Headers of every response: nobody may frame, keep or read it elsewhere."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


@dataclass(frozen=True)
class Guard:
    """Lets requests through to an application that come from its own page.

    Args:
        app: application to guard.
        port: port that it is served at.
        token: token that requests must bring, as `token` in the query or as a header.
    """

    app: App
    port: int
    token: str

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), text.encode()) for name, text in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        fault = self.fault_of(scope)
        app: App = JSONResponse({"message": fault}, 403) if fault else self.app
        await app(scope, receive, marked)

    def fault_of(self, scope: Message) -> str:
        """Say why a request is refused; empty where it is not."""
        if scope["type"] != "http":
            return "only HTTP is served"
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or hosts[0] not in self._hosts:
            return "Host: this server answers to 127.0.0.1 only"
        origins = {f"http://{host}" for host in self._hosts}
        if any(origin not in origins for origin in _values(scope, b"origin")):
            return "Origin: requests from other pages are refused"
        given = _values(scope, TOKEN_HEADER)
        given += parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
        if len(given) != 1 or not hmac.compare_digest(given[0].encode(), self.token.encode()):
            return "token: missing or wrong; open the address that `esegeta view` printed"
        return ""

    @property
    def _hosts(self) -> set[str]:
        # Browsers leave out the port that is http's own.
        ports = (f":{self.port}", "") if self.port == 80 else (f":{self.port}",)
        return {name + port for name in NAMES for port in ports}


def _values(scope: Message, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]
