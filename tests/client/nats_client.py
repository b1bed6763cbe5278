"""A client of the bus that says what it is told to say and hears what others say, in NATS's own words.

It knows no message of P92. Of JetStream it knows how requests are asked; what it hears are messages on their way there.
"""

import contextlib
import json
import socket
import time

from probes import Lost

ANSWERS = "storm.answers"


class Nats:
    """A connection."""

    def __init__(self, address: str):
        host, _, port = address.rpartition(":")
        self.socket, self.rest, self.subscriptions = socket.create_connection((host, int(port)), timeout=10), b"", 0
        self._line()
        self._say(b'CONNECT {"verbose":false,"pedantic":false,"name":"storm","lang":"none","version":"0"}\r\n')
        self.hear(ANSWERS)

    def _say(self, words: bytes) -> None:
        self.socket.sendall(words)

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise Lost("NATS has closed the connection")
        self.rest += data

    def _line(self) -> bytes:
        while b"\r\n" not in self.rest:
            self._more()
        line, _, self.rest = self.rest.partition(b"\r\n")
        return line

    def _body(self, size: int) -> bytes:
        while len(self.rest) < size + 2:
            self._more()
        body, self.rest = self.rest[:size], self.rest[size + 2:]
        return body

    def _messages(self):
        """(subject, body) of what comes, for ever. Headers are not among it, since none were asked for."""
        while True:
            words = self._line().split()
            if words[:1] == [b"PING"]:
                self._say(b"PONG\r\n")
            elif words[:1] == [b"MSG"]:
                yield words[1].decode(), self._body(int(words[-1]))

    def publish(self, subject: str, body: bytes, answers: str = "") -> None:
        self._say(f"PUB {subject} {answers + ' ' if answers else ''}{len(body)}\r\n".encode() + body + b"\r\n")

    def hear(self, *subjects: str) -> None:
        """From now on what is said there comes here too, by whomever, oneself included."""
        for subject in subjects:
            self.subscriptions += 1
            self._say(f"SUB {subject} {self.subscriptions}\r\n".encode())

    def heard(self, seconds: float):
        """(subject, body) of what is heard within this time, as it comes."""
        ends, messages = time.monotonic() + seconds, self._messages()
        while (left := ends - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                yield next(messages)
            except TimeoutError:
                return

    def ask(self, what: str, body: dict | None = None) -> dict:
        """A request to JetStream."""
        self.publish(f"$JS.API.{what}", json.dumps(body).encode() if body else b"", ANSWERS)
        told = json.loads(next(body for subject, body in self._messages() if subject == ANSWERS))
        if "error" in told:
            raise Lost(f"NATS, asked to {what}: {told['error']}")
        return told

    def streams(self) -> list[str]:
        return sorted(self.ask("STREAM.NAMES").get("streams") or [])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._say(b"PING\r\n")
        self.socket.close()
