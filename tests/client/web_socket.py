"""A client of WebSocket (RFC 6455) on the standard library: opens one, and hears the texts that come over it.

It answers pings, asks for no extension, says nothing else, and knows nothing of what the texts are.
"""

import base64
import contextlib
import hashlib
import http.client
import os
import socket

# What both sides hash with the key (RFC 6455, 1.3).
SALT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUES, TEXT, CLOSE, PING, PONG = 0x0, 0x1, 0x8, 0x9, 0xA


def accepted(key: str) -> str:
    """How a server shows that it has read the key."""
    return base64.b64encode(hashlib.sha1(key.encode() + SALT).digest()).decode()


def frame(kind: int, payload: bytes) -> bytes:
    """A whole message of a client, which masks what it says. No payload of ours is longer than a ping's."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([0x80 | kind, 0x80 | len(payload)]) + mask + masked


class WebSocket:
    """One that is open; a `ConnectionError` if it was refused or breaks."""

    def __init__(self, address: str, path: str, headers: dict[str, str], timeout: float = 60.0):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        self.answers = self.socket.makefile("rb")
        key = base64.b64encode(os.urandom(16)).decode()
        headers = headers | {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.socket.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n".encode())
        status = self.answers.readline().decode(errors="replace").strip()
        told = http.client.parse_headers(self.answers)
        if status.split()[1:2] != ["101"] or told["Sec-WebSocket-Accept"] != accepted(key):
            self.socket.close()
            raise ConnectionError(f"no WebSocket is opened: {status}")

    def texts(self):
        """Every text, as it comes, until the other side says that it ends."""
        parts: list[bytes] = []
        while True:
            last, kind, payload = self._frame()
            if kind == CLOSE:
                return
            if kind == PING:
                self.socket.sendall(frame(PONG, payload))
            elif kind in (TEXT, CONTINUES):
                parts.append(payload)
                if last:
                    yield b"".join(parts).decode()
                    parts = []

    def _frame(self) -> tuple[bool, int, bytes]:
        """(whether it is the last of its message, what it is, what it says). Servers do not mask."""
        first, length = self._read(2)
        if length > 125:
            length = int.from_bytes(self._read(2 if length == 126 else 8), "big")
        return bool(first & 0x80), first & 0x0F, self._read(length)

    def _read(self, count: int) -> bytes:
        data = self.answers.read(count)
        if len(data) < count:
            raise ConnectionError("the WebSocket broke off")
        return data

    def close(self) -> None:
        """Ends it without a word, from whichever thread."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
