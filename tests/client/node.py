"""Starts the real binary on free ports in a directory of its own, and knows nothing of what is asked of it."""

import abc
import json
import os
import pathlib
import signal
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]


def binary() -> str:
    """The binary under test: P92_BIN, or the debug build."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return os.environ.get("P92_BIN", str(target / "debug" / "p92"))


# Loads are meant here; what a stranger may do in five minutes is tested elsewhere.
SETTINGS = """
[gateway.rates]
account = 10000000
address = 10000000
sign_ups = 100000
passwords = 100000
passwords_per_login = 100000
"""


class Installation(abc.ABC):
    """What tests ask and command, whether one process is behind it (`Node`) or a cluster (`replicas.Replicas`)."""

    # How people reach it, and what the server told when it was ready; `grpc` is the address of the public gRPC listener.
    url: str
    ready: dict

    @abc.abstractmethod
    def cli(self, *words: str) -> str:
        """Runs a command against this installation; its output."""

    @abc.abstractmethod
    def last_words(self) -> str:
        """The end of what it logged, for whoever looks for the cause of a failure."""

    @abc.abstractmethod
    def kill(self) -> None:
        """Ends it at once."""

    @abc.abstractmethod
    def stop(self) -> int:
        """Ends it in order; its exit code."""

    def account(self, name: str, *flags: str) -> str:
        """Makes an account; a token for it."""
        self.cli("account", "create", name, "--email", f"{name}@example.org", "--password", "a long password", *flags)
        app = json.loads(self.cli("app", "create", "--name", "tests", "--json"))
        return self.cli("token", "create", "--account", name, "--app", app["app"]["clientId"])


class Node(Installation):
    """One running server."""

    def __init__(
        self, data: pathlib.Path, http_port: int = 0, wrap: tuple = (), flags: tuple = (), more: str = "", wait: bool = True
    ):
        """Without `wait` it is only begun, for those who kill it before it is ready."""
        self.data = data
        self.started = time.monotonic()
        command = [*wrap, binary(), "serve", "--json", "--data", str(data)]
        command += ["--http", f"127.0.0.1:{http_port}", "--grpc", "127.0.0.1:0", "--ops", "127.0.0.1:0"]
        settings = data.parent / "p92.toml"
        settings.write_text(SETTINGS + more)
        command += ["--config", str(settings), *flags]
        self.log = open(data.parent / "node.log", "ab")
        # P92_BIN is ours; the server takes every variable of that kind for a setting, and refuses what it does not know.
        surroundings = {name: value for name, value in os.environ.items() if name != "P92_BIN"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, env=surroundings)
        if not wait:
            return
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server did not start; see {self.log.name}")
        self.ready = json.loads(line)
        self.took = time.monotonic() - self.started
        self.url = self.ready["url"]

    def cli(self, *words: str) -> str:
        done = subprocess.run(
            [binary(), *words, "--data", str(self.data)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"p92 {' '.join(words)}: {done.stderr}")
        return done.stdout.strip()

    def last_words(self) -> str:
        return open(self.log.name, errors="replace").read()[-4000:]

    def kill(self) -> None:
        """Ends it as a power cut would end the process: at once."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def stop(self) -> int:
        """Ends it in order; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=60)
        self.log.close()
        return code


def call(url: str, token: str = "", form: dict | None = None, method: str = "", headers: dict | None = None,
         timeout: float = 30.0):
    """One request; status, headers and decoded JSON."""
    body = urllib.parse.urlencode(form, doseq=True).encode() if form is not None else None
    request = urllib.request.Request(url, data=body, method=method or ("POST" if body is not None else "GET"))
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.headers, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        raw = error.read()
        try:
            return error.code, error.headers, json.loads(raw or b"null")
        except ValueError:
            return error.code, error.headers, raw
