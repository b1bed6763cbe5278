"""A rolling restart under load: each replica of each service ends in order and comes back, and no request fails.

    tests/client/run rolling [--rate 100] [--clients 25] [--seed 1] [--only gateway] [--store-nodes 1]

Clients keep their connections and ask so many times a second, whatever the answers take: a third of the requests write.
Whom a new connection goes to is chosen as a load balancer does, among the gateways whose readiness was met when it looked
last; a connection that the server has closed between two requests is opened again, as every client does. Anything else
that is no success is a failed request. Meanwhile home is watched over gRPC, which goes on with its cursor, over server-sent
events and over a WebSocket, whose readers read home after a break, at each gateway: whatever the followed author was
acknowledged comes once and within 5 s, and no break lasts longer than that.
"""

import argparse
import collections
import contextlib
import http.client
import json
import pathlib
import random
import select
import statistics
import tempfile
import threading
import time
import urllib.parse
import urllib.request

import grpc
from contract import compiled
from replicas import Replicas
from web_socket import WebSocket

# How often a load balancer looks, how long a watch may be broken, and when what was acknowledged must have come.
LOOKS_EVERY, RESUMES_WITHIN, COMES_WITHIN = 1.0, 5.0, 5.0
READS = ("/api/v1/timelines/home?limit=20", "/api/v1/notifications?limit=20", "/api/v1/accounts/verify_credentials")
FOLLOWERS = 6


class Balancer(threading.Thread):
    """Knows which gateways are ready."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster, self.enough = cluster, threading.Event()
        self.names = cluster.all_of("gateway")
        self.ready, self.turn = list(self.names), 0

    def run(self) -> None:
        while not self.enough.wait(LOOKS_EVERY):
            self.ready = [name for name in self.names if self._met(name)] or self.ready

    def _met(self, name: str) -> bool:
        try:
            with urllib.request.urlopen(f"http://{self.cluster.address(name, 'ops')}/readyz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def next(self, listener: str) -> str:
        self.turn += 1
        ready = self.ready
        return self.cluster.address(ready[self.turn % len(ready)], listener)


class Client(threading.Thread):
    """One connection that is kept, and a request every so often."""

    def __init__(self, number: int, balancer: Balancer, host: str, token: str, every: float, seed: str):
        super().__init__(daemon=True)
        self.number, self.balancer, self.host, self.token, self.every = number, balancer, host, token, every
        self.chance, self.connection = random.Random(seed), None
        self.took, self.failed, self.opened = [], [], 0
        # When each post was acknowledged.
        self.published: dict[str, float] = {}

    def run(self) -> None:
        # Spread over the period, so that the load is even.
        due, count = time.monotonic() + self.every * self.chance.random(), 0
        while not self.balancer.enough.wait(max(0.0, due - time.monotonic())):
            due, count = due + self.every, count + 1
            self.request(count, due - self.every)

    def request(self, count: int, due: float) -> None:
        write = self.chance.random() < 1 / 3
        form = {"status": f"{self.number}-{count}", "visibility": "public"} if write else None
        path = "/api/v1/statuses" if write else self.chance.choice(READS)
        since, where = time.monotonic(), None
        try:
            where = self._connected()
            headers = {"Host": self.host, "Authorization": f"Bearer {self.token}"}
            if write:
                headers |= {"Content-Type": "application/x-www-form-urlencoded", "Idempotency-Key": f"{self.number}-{count}"}
            body = urllib.parse.urlencode(form) if form else None
            self.connection.request("POST" if write else "GET", path, body, headers)
            answer = self.connection.getresponse()
            raw = answer.read()
            if answer.will_close:
                self.connection.close()
                self.connection = None
            if answer.status != 200:
                self.failed.append((since, path, where, answer.status, raw[:200].decode(errors="replace")))
            elif write:
                self.published[json.loads(raw)["id"]] = time.monotonic()
        except (OSError, http.client.HTTPException) as error:
            self.connection = None
            self.failed.append((since, path, where, type(error).__name__, str(error)))
        # From when it was due: a client that waits does not hide how long others would have waited.
        self.took.append(time.monotonic() - due)

    def _connected(self) -> str:
        if self.connection and select.select([self.connection.sock], [], [], 0)[0]:
            # Nothing was asked, so this can only be the end.
            self.connection.close()
            self.connection = None
        if self.connection is None:
            self.opened += 1
            host, _, port = self.balancer.next("http").rpartition(":")
            self.connection = http.client.HTTPConnection(host, int(port), timeout=30)
            self.connection.connect()
        return f"{self.connection.port}"


class Watch(threading.Thread):
    """Somebody who watches his home, and goes on elsewhere when it breaks."""

    how = ""

    def __init__(self, balancer: Balancer, first: str, host: str, token: str):
        super().__init__(daemon=True)
        self.balancer, self.address, self.host, self.token = balancer, first, host, token
        self.seen: collections.Counter = collections.Counter()
        # When each post came first, by whichever way.
        self.came: dict[str, float] = {}
        self.breaks, self.opened, self.ended, self.call = [], threading.Event(), False, None
        # What was answered by something else than what was asked for.
        self.refused: list[str] = []

    def run(self) -> None:
        broke = None
        while not self.ended:
            try:
                self.watch(broke)
            except (OSError, http.client.HTTPException, grpc.RpcError):
                pass
            if self.ended:
                return
            # The first end counts, not that of a try to come back.
            broke = self.broke = getattr(self, "broke", None) or time.monotonic()
            self.address = self.balancer.next(self.listener)
            threading.Event().wait(0.05)

    def came_back(self) -> None:
        if since := getattr(self, "broke", None):
            self.breaks.append(time.monotonic() - since)
            self.broke = None
        self.opened.set()

    def see(self, post: str) -> None:
        self.seen[post] += 1
        self.came.setdefault(post, time.monotonic())

    def has(self, wanted: dict[str, float]) -> bool:
        # What is wanted is looked through, since posts come meanwhile.
        return all(post in self.came for post in wanted)


class Called(Watch):
    """Over gRPC, with a cursor."""

    how, listener = "gRPC", "grpc"

    def __init__(self, messages, *words):
        super().__init__(*words)
        self.messages, self.cursor = messages, b""

    def watch(self, broke) -> None:
        with grpc.insecure_channel(self.address) as channel:
            method = channel.unary_stream("/p92.api.v1.TimelineService/WatchTimeline",
                                          self.messages.WatchTimelineRequest.SerializeToString,
                                          self.messages.WatchTimelineResponse.FromString)
            request = self.messages.WatchTimelineRequest(home=self.messages.HomeTimeline(), cursor=self.cursor)
            headers = [("p92-server", self.host), ("authorization", f"Bearer {self.token}")]
            self.call = method(request, metadata=headers)
            for told in self.call:
                self.came_back()
                self.cursor = told.cursor
                if told.WhichOneof("change") == "post":
                    self.see(str(told.post.id))

    def end(self) -> None:
        self.ended = True
        self.call.cancel()


class Reading(Watch):
    """One without a cursor: what came in a break is read from home, as every client does."""

    listener = "http"

    def headers(self) -> dict[str, str]:
        return {"Host": self.host, "Authorization": f"Bearer {self.token}"}

    def resumed(self, broke) -> None:
        """The stream is open again. It does not say from when on it watches, so home is read once more a little later."""
        self.came_back()
        if broke:
            self.catch_up()
            later = threading.Timer(1.0, self.catch_up)
            later.daemon = True
            later.start()

    def catch_up(self) -> None:
        host, _, port = self.balancer.next("http").rpartition(":")
        # Posts do not come in the order of their ids, so it looks back further than the last one.
        url = f"http://{host}:{port}/api/v1/timelines/home?limit=40"
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=self.headers()), timeout=10) as answer:
                for one in json.loads(answer.read()):
                    self.came.setdefault(one["id"], time.monotonic())
        except OSError as error:
            self.refused.append(f"home of {self.how}: {error}")


class Streamed(Reading):
    """Over server-sent events."""

    how = "events"

    def watch(self, broke) -> None:
        host, _, port = self.address.rpartition(":")
        self.call = http.client.HTTPConnection(host, int(port), timeout=60)
        self.call.request("GET", "/api/v1/streaming/user", headers=self.headers())
        answer = self.call.getresponse()
        if answer.status != 200:
            self.refused.append(f"stream of {self.how}: {answer.status}")
            raise OSError(f"answered with {answer.status}")
        self.resumed(broke)
        name = b""
        while line := answer.readline():
            if line.startswith(b"event:"):
                name = line[6:].strip()
            elif line.startswith(b"data:") and name == b"update":
                self.see(json.loads(line[5:])["id"])

    def end(self) -> None:
        self.ended = True
        if self.call and self.call.sock:
            with contextlib.suppress(OSError):
                self.call.sock.shutdown(2)


class Socketed(Reading):
    """Over a WebSocket."""

    how = "WebSocket"

    def watch(self, broke) -> None:
        self.call = WebSocket(self.address, "/api/v1/streaming?stream=user", self.headers())
        self.resumed(broke)
        for text in self.call.texts():
            told = json.loads(text)
            if told["event"] == "update":
                self.see(json.loads(told["payload"])["id"])

    def end(self) -> None:
        self.ended = True
        if self.call:
            self.call.close()


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--rate", type=float, default=100.0, help="requests a second (%(default)s)")
    flags.add_argument("--clients", type=int, default=25, help="kept connections (%(default)s)")
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("--only", action="append", metavar="ROLE", help="restart replicas of these alone")
    flags.add_argument("--store-nodes", type=int, default=1, choices=[1, 3])
    given = flags.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        node = Replicas(pathlib.Path(folder) / "data", store_nodes=given.store_nodes)
        try:
            said = rolled(node, pathlib.Path(folder), given)
        except BaseException:
            print(node.last_words())
            raise
        finally:
            code = node.stop()
        print(said)
        assert code == 0, f"a process exited with {code}"


def rolled(node: Replicas, folder: pathlib.Path, given: argparse.Namespace) -> str:
    host, balancer = node.url.split("//")[1], Balancer(node.cluster)
    author, watcher = node.account("author"), node.account("watcher")
    tokens = [author] + [node.account(f"other{number}") for number in range(FOLLOWERS)]
    author_id = asked(node, author, "/api/v1/accounts/verify_credentials")["id"]
    for token in [watcher, *tokens[1:]]:
        asked(node, token, f"/api/v1/accounts/{author_id}/follow", {})
    (folder / "contract").mkdir()
    messages = compiled(folder / "contract", "api.v1.timelines")[0]
    watches = []
    for name in node.cluster.all_of("gateway"):
        watches.append(Called(messages, balancer, node.cluster.address(name, "grpc"), host, watcher))
        watches += [kind(balancer, node.cluster.address(name, "http"), host, watcher) for kind in (Streamed, Socketed)]
    balancer.start()
    for one in watches:
        one.start()
        assert one.opened.wait(20), "a watch does not open"
    clients = [Client(number, balancer, host, tokens[number % len(tokens)], given.clients / given.rate, f"{given.seed}/{number}")
               for number in range(given.clients)]
    for one in clients:
        one.start()
    began = time.monotonic()
    restarts = roll(node, clients, given, began)
    threading.Event().wait(5)
    balancer.enough.set()
    for one in clients:
        one.join()
    lasted = time.monotonic() - began
    return judged(watches, clients, author, restarts, lasted, given.rate)


def asked(node: Replicas, token: str, path: str, form: dict | None = None) -> dict:
    from node import call

    status, _, body = call(node.url + path, token, form)
    assert status == 200, (path, status, body)
    return body


def roll(node: Replicas, clients: list[Client], given: argparse.Namespace, began: float) -> int:
    """Restarts one replica after the other; how many."""
    threading.Event().wait(5)
    names = [name for name in node.cluster._names() if not given.only or name.rpartition("-")[0] in given.only]
    for name in names:
        before, since = sum(len(one.failed) for one in clients), time.monotonic()
        done = sum(len(one.took) for one in clients)
        code = node.cluster.stop(name)
        assert code == 0, f"{name} ended with {code}"
        node.cluster.start(name)
        threading.Event().wait(3)
        lasted = time.monotonic() - since
        failed = sum(len(one.failed) for one in clients) - before
        done = sum(len(one.took) for one in clients) - done
        print(f"{name} restarted at {since - began:.0f} s in {lasted - 3:.1f} s: {done} requests ({done / lasted:.0f}/s), "
              f"{failed} failed", flush=True)
    return len(names)


def kept_up(watch: Watch, wanted: dict[str, float]) -> bool:
    """Whether everything wanted came over a watch, once and soon; prints what did. A post may come before its author is
    answered, and then is not late."""
    lacking = [post for post in wanted if post not in watch.came]
    doubled = [post for post, count in list(watch.seen.items()) if count > 1]
    late = max((watch.came[post] - at for post, at in wanted.items() if post in watch.came), default=0.0)
    broken = max(watch.breaks, default=0.0)
    print(f"watch over {watch.how}: {len(watch.seen)} posts, of {len(wanted)} wanted {len(lacking)} lacking, {len(doubled)} "
          f"doubled, the latest {max(0.0, late):.2f} s after its acknowledgement; {len(watch.breaks)} breaks, the longest {broken:.2f} s")
    return not lacking and not doubled and late <= COMES_WITHIN and broken <= RESUMES_WITHIN


def judged(watches: list[Watch], clients: list[Client], author: str, restarts: int, lasted: float, rate: float) -> str:
    wanted = {post: at for one in clients if one.token == author for post, at in one.published.items()}
    ends = time.monotonic() + 10
    for one in watches:
        while not one.has(wanted) and time.monotonic() < ends:
            threading.Event().wait(0.1)
        one.end()
    failed = sorted(what for one in clients for what in one.failed) + [what for one in watches for what in one.refused]
    took = sorted(seconds for one in clients for seconds in one.took)
    for what in failed[:20]:
        print(f"    failed: {what}")
    problems = [f"a watch over {one.how}" for one in watches if not kept_up(one, wanted)]
    said = (f"rolling: {restarts} restarts in {lasted:.0f} s; {len(took)} requests, {len(took) / lasted:.0f}/s, {len(failed)} failed; "
            f"median {statistics.median(took) * 1000:.0f} ms, p99 {took[len(took) * 99 // 100] * 1000:.0f} ms, slowest "
            f"{took[-1]:.1f} s; {sum(one.opened for one in clients)} connections of {len(clients)} clients")
    assert not failed and not problems, f"{said}; broken: {problems}"
    assert wanted, "nothing was published"
    assert len(took) / lasted >= 0.9 * rate, f"{said}; that is less than {rate:.0f}/s: nothing was shown at that load"
    return said


if __name__ == "__main__":
    main()
