#!/usr/bin/env python3
"""A cluster of P92 on this machine, without containers: Cassandra, NATS, and replicas of every service behind gateways.

    deploy/local/up   [--dir DIR] [--replicas 2] [--of timelines=8] [--store-nodes 1] [--commitlog group] [--binary P92] [--json]
    deploy/local/down [--dir DIR] [--wipe]
    deploy/local/cluster.py status
    deploy/local/cluster.py kill|start|stop|restart|pause|resume NAME     one process: timelines-1, gateway-2, nats, store-1
    deploy/local/cluster.py wipe-bus                                      NATS is killed and its data removed; `start nats`

`up` on a directory that has a cluster starts what is missing of it, and nothing else. `down` ends what `up` started, and
nothing else. As a module: `Cluster`. It knows which processes there are and how they find each other, and refuses to know
what they do; how processes are told apart is in `processes.py`, the store and the bus in `cassandra.py` and `nats.py`.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

# The store and the bus stand beside this file, wherever it was imported from.
sys.path.append(str(pathlib.Path(__file__).resolve().parent))

import cassandra  # noqa: E402
import nats  # noqa: E402
import processes  # noqa: E402
from binary import Trouble, build, readiness  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEFAULT = ROOT / ".local"
STATE = "up.json"
KEYSPACE = "p92"
# Everything that is written below the directory; nothing else is removed by a wipe.
WRITTEN = ("store", "bus", "keys", "data", "logs", "p92.toml", STATE, ".lock")
# Who asks whom, as `Role::asks` of the binary says.
ASKS = {
    "identity": (), "posting": ("identity",), "timelines": ("identity", "posting"), "federation-delivery": (),
    "ranking": (), "gateway": ("identity", "posting", "timelines", "ranking"),
}
# Not ready, 5 s of serving on, 20 s for what is under way, three last steps of 5 s: then somewhat.
ENDS_WITHIN = 60


class Progress:
    """Tells on the error output what is done and what is waited for; on a terminal the last line is rewritten."""

    def __init__(self, out=sys.stderr, quiet=False):
        self.out, self.quiet, self.began = out, quiet, time.monotonic()
        self.terminal = not quiet and out.isatty()

    def done(self, text):
        if not self.quiet:
            self._write(f"{time.monotonic() - self.began:6.1f} s  {text}\n")

    def waiting(self, text):
        if self.terminal:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"{time.monotonic() - self.began:6.1f} s  {text}"[:width])

    def _write(self, text):
        self.out.write(("\r\x1b[K" if self.terminal else "") + text)
        self.out.flush()


class Cluster:
    """The processes of one directory."""

    def __init__(self, directory=DEFAULT, progress=None):
        self.dir = pathlib.Path(directory).resolve()
        self.progress = progress or Progress(quiet=True)
        # Those that this program began itself; only of them an exit code can be had.
        self.children = {}
        self.state = None
        with contextlib.suppress(FileNotFoundError):
            self.state = json.loads((self.dir / STATE).read_text(encoding="utf-8"))

    # What can be done.

    def up(self, binary=None, release=False, replicas=None, store_nodes=None, commitlog=None, url=None, settings=None,
           limit=300, between=None, first=None, of=None):
        """Starts what is missing, and waits until everything serves. `settings`: a TOML file for all of P92's
        processes; what this program sets itself goes before it. `between`: told where the store's nodes and the bus are,
        as pairs (where P92 looks for it, where it is), once these run and before anybody uses them. `first`: called then as well, to put
        something into the store that the rest finds there. `of`: replicas of single roles, which may grow while it runs."""
        with self._alone():
            self._agree(replicas, store_nodes, commitlog, url, of or {})
            missing = [name for name in self._names() if not self.runs(name)]
            if missing or binary:
                self.state["binary"] = str(pathlib.Path(binary).resolve() if binary else build(release))
            if settings:
                shutil.copyfile(settings, self.dir / "p92.toml")
            self._save()
            if between:
                self.state["between"] = True
            self._start_store(limit)
            self._start_bus()
            if between:
                between(*self._ways())
            if first:
                first()
            if missing:
                self._take_ports(missing)
                self._prepare()
            for name in missing:
                self._launch(name)
            self._wait(self._names(), limit)
            self.state["made"] = True
            self._save()

    def down(self, wipe=False):
        """Ends everything that was started here, doors first: name → exit code, None where it cannot be known."""
        if self.state is None:
            return {}
        codes = {}
        with self._alone():
            for wave in (["gateway"], [role for role in ASKS if role != "gateway"]):
                names = [name for name in self.state["processes"] if name.rpartition("-")[0] in wave and self.runs(name)]
                codes |= self._end(names)
            if nats.stop(self.dir / "bus"):
                self.progress.done("nats has ended")
            for pid in cassandra.stop(self.dir / "store") if self._store()["nodes"] else []:
                self.progress.done(f"Cassandra (process {pid}) has ended")
            if wipe:
                self._wipe()
        return codes

    def start(self, name, limit=300):
        """Starts one process, and waits until it serves."""
        with self._known(name):
            if name == "nats":
                self._start_bus()
            elif number := self._store_number(name):
                cassandra.start(self.dir / "store", node=number, limit=limit)
            else:
                if not self.runs(name):
                    self._launch(name)
                self._wait([name], limit)

    def start_all(self, names, limit=300):
        """Starts several processes of P92 at once, and waits until all serve."""
        with self._alone():
            for name in names:
                if not self.runs(name):
                    self._launch(name)
            self._wait(names, limit)

    def stop(self, name):
        """Ends one process in order; its exit code, None if it cannot be known."""
        with self._known(name):
            if name == "nats":
                nats.stop(self.dir / "bus")
            elif number := self._store_number(name):
                cassandra.stop(self.dir / "store", number)
            else:
                return self._end([name])[name]

    def restart(self, name, limit=300):
        """Ends one process in order and starts it again."""
        self.stop(name)
        self.start(name, limit)

    def kill(self, name):
        """Ends one process as a crash would."""
        self._signal(name, signal.SIGKILL)
        until = time.monotonic() + 10
        while self.runs(name):
            if time.monotonic() > until:
                raise Trouble(f"{name} does not end")
            time.sleep(0.01)
        if child := self.children.pop(name, None):
            child.wait()

    def pause(self, name):
        """Stops one process where it stands, until `resume`: it holds its connections and answers nothing."""
        self._signal(name, signal.SIGSTOP)

    def resume(self, name):
        """Lets a paused process go on."""
        self._signal(name, signal.SIGCONT)

    def wipe_bus(self):
        """Kills NATS and removes everything that it has written; `start("nats")` starts an empty one on the same port."""
        with self._known("nats"):
            nats.stop(self.dir / "bus", kill=True)
            shutil.rmtree(self.dir / "bus", ignore_errors=True)

    def pid(self, name):
        """The id of a process that lives; None of one that does not."""
        if name == "nats":
            return (nats.running(self.dir / "bus") or {}).get("pid")
        if number := self._store_number(name):
            nodes = self._store()["nodes"]
            home = self.dir / "store" / f"node{number}"
            return nodes[number - 1]["pid"] if nodes and cassandra.is_ours(nodes[number - 1], home) else None
        note = self.state["processes"].get(name)
        return note["pid"] if processes.runs(note) else None

    def runs(self, name):
        return self.pid(name) is not None

    def p92(self, *words, name=None):
        """Runs a command of the binary for one process, or for the store itself: what came of it."""
        where = ["--endpoint", self.address(name, "internal")] if name else []
        surroundings = self._surroundings() | ({} if name else self._store_settings())
        return subprocess.run([self.state["binary"], *words, *where], env=surroundings, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False, timeout=900)

    def address(self, name, listener):
        """Where a listener of a process is: internal, ops, http, grpc."""
        return f"127.0.0.1:{self.state['ports'][name][listener]}"

    def all_of(self, role):
        """The names of a role's replicas."""
        return [name for name in self._names() if name.rpartition("-")[0] == role]

    def describe(self):
        """What runs where."""
        rows = {name: {"pid": self.pid(name), "log": str(self._log(name))} for name in self._names()}
        for name, row in rows.items():
            row |= {listener: self.address(name, listener) for listener in self.state["ports"].get(name, {})}
        store = self._store()
        nodes = [{"name": f"store-{number}", "pid": self.pid(f"store-{number}"), "address": f"{node['host']}:{store['port']}",
                  "log": str(self.dir / "store" / f"node{number}" / "logs" / "system.log")}
                 for number, node in enumerate(store["nodes"], 1)]
        bus = {"pid": self.pid("nats"), "address": f"127.0.0.1:{self.state['bus_port']}",
               "monitor": (nats.running(self.dir / "bus") or {}).get("monitor"), "log": str(self.dir / "bus" / "nats.log")}
        return {"url": self.url(), "dir": str(self.dir), "binary": self.state["binary"], "processes": rows, "store": nodes,
                "bus": bus}

    def url(self):
        """How people reach the first server; None before it has a place."""
        if self.state["url"] is None and "gateway-1" in self.state["ports"]:
            return f"http://{self.address('gateway-1', 'http')}"
        return self.state["url"]

    # How it is done.

    @contextlib.contextmanager
    def _alone(self):
        """One program at a time works on a directory."""
        self.dir.mkdir(parents=True, exist_ok=True)
        with open(self.dir / ".lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                self.state = json.loads((self.dir / STATE).read_text(encoding="utf-8"))
            yield

    @contextlib.contextmanager
    def _known(self, name):
        known = [] if self.state is None else [*self._names(), "nats", *self._stores()]
        if name not in known:
            raise Trouble(f"there is no {name} here; there are {', '.join(known) or 'none, since nothing was started'}")
        with self._alone():
            yield

    def _signal(self, name, which):
        with self._known(name):
            pid = self.pid(name)
            if pid is None:
                raise Trouble(f"{name} does not run")
            os.kill(pid, which)

    def _save(self):
        new = self.dir / (STATE + ".new")
        new.write_text(json.dumps(self.state, indent=1) + "\n", encoding="utf-8")
        new.replace(self.dir / STATE)

    def _names(self):
        return [f"{role}-{number}" for role in ASKS for number in range(1, self._count(role) + 1)]

    def _count(self, role):
        # Two doors suffice to see that it is all the same which one is used.
        return self.state.get("of", {}).get(role, 2 if role == "gateway" else self.state["replicas"])

    def _stores(self):
        return [f"store-{number}" for number in range(1, self.state["store_nodes"] + 1)]

    def _store_number(self, name):
        return int(name.removeprefix("store-")) if name in self._stores() else None

    def _log(self, name):
        return self.dir / "logs" / f"{name}.log"

    def _agree(self, replicas, store_nodes, commitlog, url, of):
        """Takes up what is wished, or says why that cannot be."""
        if self.state is None:
            # Synced before it answers: a node that forgets what it has acknowledged makes a quorum none (deploy/README.md).
            self.state = {"replicas": replicas or 2, "store_nodes": store_nodes or 1, "commitlog": commitlog or "group",
                          "url": url, "binary": None, "bus_port": None, "ports": {}, "processes": {}, "made": False}
        state = self.state
        for wish, key in ((store_nodes, "store_nodes"), (commitlog, "commitlog"), (url, "url")):
            if wish not in (None, state[key]):
                raise Trouble(f"the cluster in {self.dir} was made with {key.replace('_', ' ')} {state[key]}, not {wish}\n"
                              f"  what to do: leave the flag out, or begin anew: deploy/local/down --wipe --dir {self.dir}")
        if replicas not in (None, state["replicas"]):
            if any(self.runs(name) for name in self._names()):
                raise Trouble(f"it runs with {state['replicas']} replicas of each service\n"
                              f"  what to do: end it first: deploy/local/down --dir {self.dir}")
            state["replicas"] = replicas
        for role, count in of.items():
            if more := [name for name in self.all_of(role)[count:] if self.runs(name)]:
                raise Trouble(f"{', '.join(more)}: running, and beyond the {count} of {role} that are wished\n  what to do: end "
                              f"each first: deploy/local/cluster.py stop {more[-1]} --dir {self.dir}")
            state.setdefault("of", {})[role] = count
        for folder in ("keys", "data", "logs"):
            (self.dir / folder).mkdir(exist_ok=True, mode=0o700)

    def _start_store(self, limit):
        if all(self.runs(name) for name in self._stores()):
            return
        self.progress.waiting("Cassandra is being started (fetched at the first time)")
        try:
            told = [f"127.0.1.{n}" for n in range(1, self.state["store_nodes"] + 1)] if self.state.get("between") else None
            cassandra.start(self.dir / "store", self.state["store_nodes"], self.state["commitlog"], limit=limit, told=told)
        except (cassandra.Failed, OSError) as error:
            raise Trouble(f"Cassandra did not come up: {error}\n  what to do: it needs a JDK 17 (Debian: apt-get install "
                          f"openjdk-17-jdk-headless maven) and 1.5 GB of memory a node; its logs are in "
                          f"{self.dir / 'store'}") from error
        self.progress.done(f"Cassandra answers ({self.state['store_nodes']} node{'s'[:self.state['store_nodes'] > 1]})")

    def _start_bus(self):
        if self.runs("nats"):
            return
        self.progress.waiting("NATS is being started (built at the first time)")
        try:
            if self.state["bus_port"] is None:
                self.state["bus_port"] = processes.free_ports(1)[0]
                self._save()
            nats.start(self.dir / "bus", port=self.state["bus_port"])
        except (nats.Trouble, OSError) as error:
            raise Trouble(f"NATS did not come up: {error}\n  what to do: it needs Go 1.24 or later to be built once; if its "
                          f"port {self.state['bus_port']} is taken, end who took it") from error
        self.progress.done(f"NATS answers at 127.0.0.1:{self.state['bus_port']}")

    def _take_ports(self, missing):
        """A port for each listener. Once a server was made they stay, since its URL is written into ids."""
        ports = self.state["ports"]
        taken = [(name, port) for name in missing for port in ports.get(name, {}).values() if not processes.is_free(port)]
        if taken and self.state["made"]:
            name, port = taken[0]
            raise Trouble(f"port {port}, which was {name}'s, is taken by another program\n  what to do: end that program "
                          f"(`ss -ltnp 'sport = {port}'` names it), or begin anew: deploy/local/down --wipe --dir {self.dir}")
        for name in missing:
            if name not in ports or taken:
                listeners = ("http", "grpc", "ops") if name.startswith("gateway-") else ("internal", "ops")
                used = {port for one in ports.values() for port in one.values()} | {self.state["bus_port"]}
                free = [port for port in processes.free_ports(len(used) + len(listeners)) if port not in used]
                ports[name] = dict(zip(listeners, free))
        self._save()

    def _surroundings(self):
        """Variables of the caller, without those that the binary would take for settings."""
        return {name: value for name, value in os.environ.items() if not name.startswith("P92_")}

    def _store(self):
        """What is noted of the store; no nodes before it was started for the first time."""
        return cassandra.load(self.dir / "store") if (self.dir / "store" / cassandra.STATE).exists() else {"nodes": []}

    def _ways(self):
        """To the store's nodes and to the bus: (where P92 looks for it, where it is)."""
        store, bus = self._store(), f"127.0.0.1:{self.state['bus_port']}"
        nodes = [(f"{node.get('told') or node['host']}:{store['port']}", f"{node['host']}:{store['port']}")
                 for node in store["nodes"]]
        return nodes, (f"127.0.1.1:{self.state['bus_port']}" if self.state.get("between") else bus, bus)

    def _store_settings(self):
        points = [told for told, _ in self._ways()[0]]
        return {
            "P92_STORE__KIND": "cql", "P92_STORE__CQL__CONTACT_POINTS": json.dumps(points),
            "P92_STORE__CQL__KEYSPACE": KEYSPACE, "P92_STORE__CQL__DATACENTER": cassandra.DATACENTER,
            "P92_STORE__CQL__REPLICATION": str(min(3, len(points))),
            "P92_KEYS": str(self.dir / "keys" / "p92.keys"),
        }

    def environment(self, name):
        """The settings of one process, as the chart and the compose file give them: as variables."""
        role, settings = name.rpartition("-")[0], {"P92_OPS": self.address(name, "ops")}
        for other in ASKS[role]:
            addresses = [self.address(one, "internal") for one in self.all_of(other)]
            settings[f"P92_PEERS__{other.upper().replace('-', '_')}"] = json.dumps(addresses)
        if role == "gateway":
            settings |= {"P92_HTTP": self.address(name, "http"), "P92_GRPC": self.address(name, "grpc"),
                         "P92_PUBLIC_URL": self.url()}
        else:
            settings |= self._store_settings()
            settings |= {"P92_INTERNAL__LISTEN": self.address(name, "internal"), "P92_BUS__KIND": "nats",
                         "P92_BUS__URL": f"nats://{self._ways()[1][0]}"}
        return settings

    def _prepare(self):
        """Tables and keys, which exist before any service does."""
        for words, what in ((("migrate",), "the tables are there"), (("keys", "init"), "the keys are there")):
            self.progress.waiting(f"p92 {' '.join(words)}")
            command = [self.state["binary"], *words, "--data", self.dir / "data" / "none"]
            said = []
            try:
                running = subprocess.Popen(command, env=self._surroundings() | self._store_settings(), text=True,
                                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            except OSError as error:
                raise Trouble(f"{self.state['binary']} cannot be run: {error}") from error
            with running:
                for line in running.stdout:
                    said.append(line)
                    self.progress.waiting(f"p92 {' '.join(words)}: {line.strip()}")
            if running.returncode != 0:
                raise Trouble(f"`p92 {' '.join(words)}` ended with {running.returncode}:\n{''.join(said[-12:])}")
            self.progress.done(what)

    def _launch(self, name):
        settings = [*(["--config", self.dir / "p92.toml"] if (self.dir / "p92.toml").exists() else [])]
        command = [self.state["binary"], "serve", name.rpartition("-")[0], "--json", "--data", self.dir / "data" / name]
        try:
            child, note = processes.launch([*command, *settings], self._surroundings() | self.environment(name),
                                           self._log(name))
        except OSError as error:
            raise Trouble(f"{name} cannot be run: {error}") from error
        self.children[name], self.state["processes"][name] = child, note
        self._save()

    def _wait(self, names, limit):
        """Until all of them serve. What does not come up is told with the end of its log."""
        until, waiting = time.monotonic() + limit, dict.fromkeys(names, "it was begun")
        while waiting:
            for name in list(waiting):
                if not self.runs(name):
                    child = self.children.get(name)
                    code = child.poll() if child else None
                    what = "ended" if code is None else f"ended with {code}"
                    raise Trouble(self._failed(name, f"{what} before it served"))
                ready, waiting[name] = readiness(self.state["ports"][name]["ops"])
                if ready:
                    del waiting[name]
                    self.progress.done(f"{name} serves ({len(names) - len(waiting)} of {len(names)})")
            if waiting:
                name, why = next(iter(waiting.items()))
                self.progress.waiting(f"{len(waiting)} to come; {name}: {why}")
                if time.monotonic() > until:
                    raise Trouble(self._failed(name, f"does not serve within {limit} s: {why}"))
                time.sleep(0.1)

    def _failed(self, name, what):
        return (f"{name} {what}\nthe end of {self._log(name)}:\n{processes.last_lines(self._log(name))}\n"
                f"  what to do: mend what the log names, and run `up` again, which starts only what is missing; or end what "
                f"runs: deploy/local/down --dir {self.dir} (--wipe to begin anew)")

    def _end(self, names):
        notes = {name: self.state["processes"].get(name) for name in names}
        killed = processes.end([note for note in notes.values() if note], ENDS_WITHIN)
        codes = {}
        for name, note in notes.items():
            child = self.children.pop(name, None)
            codes[name] = child.wait() if child else None
            hard = f"; it did not end within {ENDS_WITHIN} s and was killed" if note in killed else ""
            self.progress.done(f"{name} has ended{hard}")
        return codes

    def _wipe(self):
        for name in WRITTEN:
            path = self.dir / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.dir.rmdir()
        self.state = None
        self.progress.done(f"{self.dir} is removed")


if __name__ == "__main__":
    from commands import main

    sys.exit(main())
