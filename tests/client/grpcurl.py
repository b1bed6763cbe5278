"""grpcurl against the running binary: what reflection tells, a post, a timeline that is watched, and what is refused."""

import json
import os
import pathlib
import queue
import shutil
import subprocess
import tempfile
import threading
import time

from node import ROOT, Installation, Node, call

# Pinned: a newer one may print otherwise.
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3"
PUBLIC = ("p92.api.v1.", "grpc.health.", "grpc.reflection.")
SERVICES = {"AccountService", "NotificationService", "PostService", "RelationshipService", "ServerService",
            "TimelineService"}


def grpcurl() -> str:
    """The program: that of the machine, or one built beside the binary."""
    found = shutil.which("grpcurl")
    if found:
        return found
    place = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "client-bin"
    program = place / "grpcurl"
    if not program.exists():
        if not shutil.which("go"):
            raise SystemExit("grpcurl is missing, and Go to build it with (Debian: apt-get install golang)")
        subprocess.run(["go", "install", GRPCURL], env={**os.environ, "GOBIN": str(place)}, check=True)
    return str(program)


class Caller:
    """Calls of one account on one server."""

    def __init__(self, node: Installation, token: str = ""):
        port = node.ready["grpc"].rsplit(":", 1)[1]
        # As a client by name would: what is called says which server is meant.
        self.flags = ["-plaintext", "-H", f"p92-server: {node.url.split('//')[1]}"]
        self.flags += ["-H", f"authorization: Bearer {token}"] if token else []
        self.address = f"127.0.0.1:{port}"

    def command(self, method: str, message: dict | None = None) -> list[str]:
        data = ["-d", json.dumps(message)] if message is not None else []
        return [grpcurl(), *self.flags, *data, self.address, method]

    def run(self, method: str, message: dict | None = None) -> subprocess.CompletedProcess:
        return subprocess.run(self.command(method, message), capture_output=True, text=True, timeout=30, check=False)

    def ask(self, method: str, message: dict) -> dict:
        done = self.run(f"p92.api.v1.{method}", message)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, method: str, message: dict, code: str) -> None:
        done = self.run(method, message)
        assert done.returncode != 0 and f"Code: {code}" in done.stderr, (done.stdout, done.stderr)


def reflection(stranger: Caller) -> None:
    """Only public services are told of; internal ones are neither described nor served."""
    told = stranger.run("list").stdout.split()
    assert all(name.startswith(PUBLIC) for name in told), told
    assert SERVICES <= {name.rsplit(".", 1)[1] for name in told}, told
    for name in told:
        done = stranger.run("describe")
        assert done.returncode == 0 and name in done.stdout, done.stderr
    hidden = subprocess.run([grpcurl(), *stranger.flags, stranger.address, "describe", "p92.identity.v1.TokenService"],
                            capture_output=True, text=True, timeout=30, check=False)
    assert hidden.returncode != 0 and "IssueToken" not in hidden.stdout, hidden.stdout


def internal(stranger: Caller, node: Installation, token: str) -> None:
    """An internal service called by its own contract: refused, and nothing happened."""
    before = call(node.url + "/api/v1/timelines/public", token)[2]
    protos = ["-import-path", str(ROOT / "proto"), "-proto", "p92/posting/v1/service.proto"]
    message = json.dumps({"context": {"serverId": "1", "actorId": "1"}, "text": "forged", "visibility": 1})
    command = [grpcurl(), *stranger.flags, *protos, "-d", message, stranger.address]
    done = subprocess.run([*command, "p92.posting.v1.PostService/PublishPost"],
                          capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0 and "Code: Unimplemented" in done.stderr, (done.stdout, done.stderr)
    assert call(node.url + "/api/v1/timelines/public", token)[2] == before


class Watch:
    """A timeline that is watched: its messages, as they come."""

    def __init__(self, caller: Caller, request: dict):
        command = caller.command("p92.api.v1.TimelineService/WatchTimeline", request)
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.messages: queue.Queue = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        decoder, text = json.JSONDecoder(), ""
        for line in self.process.stdout:
            text = (text + line).lstrip()
            try:
                message, end = decoder.raw_decode(text)
            except ValueError:
                continue
            self.messages.put(message)
            text = text[end:]

    def until(self, fits) -> dict:
        """The first message that fits, within five seconds."""
        ends = time.monotonic() + 5
        while True:
            message = self.messages.get(timeout=max(0.01, ends - time.monotonic()))
            if fits(message):
                return message


def watching(node: Installation, alice: Caller, alice_token: str, bob_token: str) -> None:
    """Alice watches while Bob posts by HTTP; the watch goes on where it stopped, and ends with its token."""
    bob_id = call(node.url + "/api/v1/accounts/verify_credentials", bob_token)[2]["id"]
    alice.ask("RelationshipService/FollowAccount", {"accountId": bob_id})
    watch = Watch(alice, {"home": {}})
    watch.until(lambda message: "stillHere" in message)
    posted = time.monotonic()
    made = call(node.url + "/api/v1/statuses", bob_token, {"status": "seen while watching"})[2]
    seen = watch.until(lambda message: message.get("post", {}).get("id") == made["id"])
    took = time.monotonic() - posted
    assert seen["post"]["html"] == "<p>seen while watching</p>" and took < 1.0, (seen, took)
    watch.process.kill()
    watch.process.wait()
    missed = call(node.url + "/api/v1/statuses", bob_token, {"status": "while nobody watched"})[2]
    watch = Watch(alice, {"home": {}, "cursor": seen["cursor"]})
    watch.until(lambda message: message.get("post", {}).get("id") == missed["id"])
    call(node.url + "/oauth/revoke", form=revocation(node, alice_token))
    revoked = time.monotonic()
    _, words = watch.process.communicate(timeout=10)
    assert "Unauthenticated" in words and time.monotonic() - revoked <= 5, words
    print(f"grpcurl: a post by HTTP was seen by a watch after {took * 1000:.0f} ms")


APP: dict = {}


def revocation(node: Installation, token: str) -> dict:
    return {"client_id": APP["clientId"], "client_secret": APP["secret"], "token": token}


def main(begin=Node) -> None:
    """`begin` starts what is tested, with its data in a directory: one process, or a cluster."""
    with tempfile.TemporaryDirectory() as folder:
        node = begin(pathlib.Path(folder) / "data")
        try:
            made = json.loads(node.cli("app", "create", "--name", "grpcurl", "--json"))
            APP.update(made["app"], secret=made.get("clientSecret") or made["secret"])
            tokens = {}
            for name in ("alice", "bob"):
                node.cli("account", "create", name, "--email", f"{name}@example.org", "--password", "a long password")
                tokens[name] = node.cli("token", "create", "--account", name, "--app", APP["clientId"])
            stranger, alice = Caller(node), Caller(node, tokens["alice"])
            reflection(stranger)
            post = {"requestId": "once", "text": "by grpcurl", "visibility": "VISIBILITY_PUBLIC"}
            method = "p92.api.v1.PostService/CreatePost"
            stranger.refused(method, post, "Unauthenticated")
            Caller(node, "wrong").refused(method, post, "Unauthenticated")
            assert call(node.url + "/api/v1/timelines/public", tokens["bob"])[2] == []
            made = alice.ask("PostService/CreatePost", post)["post"]
            assert alice.ask("PostService/CreatePost", post)["post"]["id"] == made["id"], "a repeat posts nothing"
            seen = call(f"{node.url}/api/v1/statuses/{made['id']}", tokens["bob"])[2]
            assert seen["content"] == "<p>by grpcurl</p>", seen
            assert len(call(node.url + "/api/v1/timelines/public", tokens["bob"])[2]) == 1
            internal(alice, node, tokens["alice"])
            watching(node, alice, tokens["alice"], tokens["bob"])
        except BaseException:
            print(node.last_words())
            raise
        finally:
            code = node.stop()
    assert code == 0, f"the stop exited with {code}"
    print("grpcurl: reflection, a post, a watch, refusals: passed")


if __name__ == "__main__":
    main()
