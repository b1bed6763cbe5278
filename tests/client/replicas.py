"""A running cluster where tests have a node: every service and the door in several processes, used in turn.

It brings the cluster of `deploy/local` up in a directory, and stands for it as `Node` stands for one process. It knows
nothing of what is asked of it.
"""

import functools
import itertools
import json
import pathlib
import signal
import sys
import urllib.request

import grpc
from contract import compiled
from door import Door
from node import ROOT, SETTINGS, Installation, binary

sys.path.append(str(ROOT / "deploy"))
from local.cluster import ASKS, Cluster, Progress  # noqa: E402

SERVICES = [role for role in ASKS if role != "gateway"]


def ended(*_) -> None:
    """What a signal to end does. A second one, as whole groups of processes get it, must not cut short what it begins."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit("ended by a signal")


class Replicas(Installation):
    """A cluster with two gateways behind one address."""

    def __init__(self, data: pathlib.Path, more: str = "", replicas: int | None = None, store_nodes: int | None = None,
                 commitlog: str | None = None, between=None, first=None, port: int = 0):
        # Its processes outlive this one: whoever ends it by a signal ends them too, as after any other failure.
        signal.signal(signal.SIGTERM, ended)
        self.web, self.calls = Door(each_request=True, port=port), Door()
        settings = data.parent / "p92.toml"
        settings.write_text(SETTINGS + more)
        self.url = f"http://127.0.0.1:{self.web.port}"
        self.ready = {"url": self.url, "grpc": f"127.0.0.1:{self.calls.port}"}
        self.progress = Progress()
        self.cluster = Cluster(data, self.progress)
        try:
            self.cluster.up(binary(), replicas=replicas, store_nodes=store_nodes, commitlog=commitlog, url=self.url,
                            settings=settings, between=between, first=functools.partial(first, self.cluster) if first else None)
        except BaseException:
            self.stop()
            raise
        gateways = self.cluster.all_of("gateway")
        self.web.lead([self.cluster.address(name, "http") for name in gateways])
        self.calls.lead([self.cluster.address(name, "grpc") for name in gateways])
        self.protos, self.asked = data.parent / "protos", {}
        self.turns = {role: itertools.cycle(self.cluster.all_of(role)) for role in SERVICES}

    def cli(self, *words: str) -> str:
        if words[0] == "lag":
            return json.dumps({"lags": self._lags()})
        if words[:2] == ("view", "list"):
            return json.dumps({"views": [view for views in self._views().values() for view in views]})
        if words[:2] == ("view", "rebuild"):
            return self._ask(next(role for role, views in self._views().items() if words[2] in [view["name"] for view in views]), *words)
        return self._ask("identity", *words)

    def _views(self) -> dict[str, list[dict]]:
        """The views of each service, which only its own replicas know."""
        return {role: json.loads(self._ask(role, "view", "list", "--json")).get("views", []) for role in SERVICES}

    def _ask(self, role: str, *words: str) -> str:
        """Runs a command for the replica of that service whose turn it is."""
        return self._said(words, next(self.turns[role]))

    def _said(self, words: tuple, name: str) -> str:
        done = self.cluster.p92(*words, name=name)
        if done.returncode != 0:
            raise RuntimeError(f"p92 {' '.join(words)} for {name}: {done.stderr}")
        return done.stdout.strip()

    def _lags(self) -> list[dict]:
        """What stands in the store, which everybody tells alike, and what each process keeps in its memory. It is asked by
        the call that `p92 lag` makes, since ten processes that begin and end are slower than many a reader."""
        from google.protobuf import json_format

        if not self.asked:
            self.protos.mkdir()
            self.messages = compiled(self.protos, "operator.v1.operator")[0]
        lags = []
        for number, name in enumerate(name for role in SERVICES for name in self.cluster.all_of(role)):
            if name not in self.asked:
                self.asked[name] = grpc.insecure_channel(self.cluster.address(name, "internal")).unary_unary(
                    "/p92.operator.v1.OperatorService/ListLag", self.messages.ListLagRequest.SerializeToString,
                    self.messages.ListLagResponse.FromString)
            answer = self.asked[name](self.messages.ListLagRequest(), timeout=30, wait_for_ready=True)
            told = json_format.MessageToDict(answer).get("lags", [])
            lags += [lag | {"process": name} for lag in told if lag.get("memory") or number == 0]
        return lags

    def measured(self, metric: str, names: list[str] | None = None) -> int:
        """The sum of a counter over these processes, or over all that keep logs."""
        total = 0
        for name in names or [name for role in SERVICES for name in self.cluster.all_of(role)]:
            with urllib.request.urlopen(f"http://{self.cluster.address(name, 'ops')}/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
            total += sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((metric + "{", metric + " ")))
        return int(total)

    def last_words(self) -> str:
        """What processes complained of last."""
        words = []
        for log in sorted((self.cluster.dir / "logs").glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            bad = [line[:600] for line in lines if '"WARN"' in line or '"ERROR"' in line or not line.startswith("{")]
            words += [f"== {log.name}", *bad[-6:]]
        return "\n".join(words)

    def kill(self) -> None:
        """Ends it for good, whatever its state."""
        self.stop()

    def stop(self) -> int:
        # Who has ended by himself is not asked to.
        died = {name: child.poll() for name, child in self.cluster.children.items()}
        codes = {name: code or 1 for name, code in died.items() if code is not None} | self.cluster.down(wipe=True)
        for door in (self.web, self.calls):
            door.close()
        wrong = {name: code for name, code in codes.items() if code}
        if wrong:
            print(f"ended with another code than 0: {wrong}", file=sys.stderr)
        return max(map(abs, wrong.values()), default=0)
