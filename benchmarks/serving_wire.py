"""Speak HTTP/1.1 over one kept connection: prepared bytes out, whole responses in. Never parses a body."""

import re
import socket
from dataclasses import dataclass
from typing import Any

import orjson

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
ID_DIGITS = 12
"""Event ids have one width, so that a request's length is known before its id is."""
_MARK = "#" * ID_DIGITS
CONNECT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Response:
    """What came back."""

    status: int
    head: bytes
    body: bytes


class Template:
    """A POST whose bytes are ready but for the number in its event id."""

    def __init__(self, path: str, content: Any, *, event_id: str | None = None) -> None:
        """`event_id`: the column of `content["rows"][0]` that takes the number; None: every request is the same."""
        if event_id is not None:
            (row,) = content["rows"]
            content = {**content, "rows": [{**row, event_id: _MARK}]}
        body = orjson.dumps(content)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        whole = head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body
        self._before, self._mark, self._after = whole.partition(_MARK.encode())

    def request(self, number: int) -> bytes:
        if not self._mark:
            return self._before
        return b"%b%0*d%b" % (self._before, ID_DIGITS, number, self._after)


def event_id(number: int) -> str:
    """As it stands in the request with that number."""
    return f"{number:0{ID_DIGITS}d}"


def get(path: str) -> bytes:
    """The bytes of a request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


class Connection:
    """One at a time: a request is sent when the response to the last one is whole."""

    def __init__(self, port: int) -> None:
        """Raises OSError when nobody listens."""
        self._socket = socket.create_connection(("127.0.0.1", port), CONNECT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._needed = 0
        self.fileno = self._socket.fileno
        self.due = 0.0
        """When the request under way was to be sent."""
        self.number = 0
        """Which request is under way."""

    def send(self, request: bytes) -> None:
        self._socket.sendall(request)

    def receive(self) -> Response | None:
        """What has arrived, once it is whole; None before. Raises ConnectionError when the other side has gone."""
        part = self._socket.recv(262_144)
        if not part:
            raise ConnectionResetError("the server closed the connection")
        received = self._received = self._received + part if self._received else part
        if not self._needed:
            end = received.find(b"\r\n\r\n")
            if end < 0:
                return None
            length = LENGTH.search(received, 0, end)
            self._needed = end + 4 + (int(length[1]) if length else 0)
        if len(received) < self._needed:
            return None
        head, _, body = received.partition(b"\r\n\r\n")
        self._received, self._needed = b"", 0
        return Response(int(head[9:12]), head, body)

    def close(self) -> None:
        self._socket.close()
