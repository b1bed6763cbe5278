"""That `deploy/local/down` ends what `up` started and nothing else: notes of processes, true ones and forged ones.

Of P92's own processes (`processes.py`), of nodes of the store (`cassandra.py`) and of the bus (`nats.py`). What is noted
here are sleepers with the command lines that those would have; no server is started.
"""

import contextlib
import json
import pathlib
import signal
import sys
import tempfile

from node import ROOT

sys.path.append(str(ROOT / "deploy" / "local"))
import cassandra  # noqa: E402
import nats  # noqa: E402
import processes  # noqa: E402

SLEEPS = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]
DEAF = [sys.executable, "-c",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(600)"]


class Begun:
    """A process that has said that it is there; it does not outlive the test, whatever comes of it."""

    def __init__(self, command: list[str], folder: str):
        self.log = pathlib.Path(folder) / "log"
        self.log.unlink(missing_ok=True)
        self.child, self.note = processes.launch(command, None, self.log)
        while self.log.read_text() != "here\n":
            assert self.child.poll() is None, self.log.read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.child.kill()
        self.child.wait()


def forged_notes_signal_nobody(folder: str) -> None:
    with Begun(SLEEPS, folder) as begun:
        others = [begun.note | {"began": begun.note["began"] - 1}, begun.note | {"command": [*begun.note["command"], "x"]}]
        for note in [None, *others]:
            assert not processes.runs(note), note
        assert not any(processes.send(note, signal.SIGKILL) for note in others)
        assert processes.end(others, 5) == []
        assert begun.child.poll() is None, "a process was ended by a note that is not its own"
        assert processes.runs(begun.note) and processes.end([begun.note], 5) == []
        assert begun.child.wait() == -signal.SIGTERM


def paused_and_deaf_ones_end(folder: str) -> None:
    with Begun(SLEEPS, folder) as begun:
        assert processes.send(begun.note, signal.SIGSTOP)
        assert processes.end([begun.note], 5) == [] and begun.child.wait() == -signal.SIGTERM
    with Begun(DEAF, folder) as begun:
        assert processes.end([begun.note], 0.2) == [begun.note] and begun.child.wait() == -signal.SIGKILL
        assert not processes.runs(begun.note)


def a_script_and_one_that_ends_at_once(folder: str) -> None:
    script = pathlib.Path(folder) / "script"
    script.write_text("#!/bin/sh\necho here\nread forever < /dev/zero\n")
    script.chmod(0o755)
    for _ in range(20):
        # Noted in the midst of its beginning, and known all the same.
        with Begun([str(script)], folder) as begun:
            assert processes.runs(begun.note), begun.note
    child, note = processes.launch(["true"], None, pathlib.Path(folder) / "log")
    # Before anybody has asked for its end it has no beginning and no command line any more, as its note may say.
    while processes.began(child.pid) is not None:
        assert child.returncode is None
    assert not processes.runs(note) and not processes.runs(note | {"began": None, "command": []})
    child.wait()
    assert not processes.runs(note)


def forged(note: dict) -> list[dict]:
    """Notes by which nobody may be known: of one that is gone, of one that began earlier, of one that was gone before its
    beginning was noted, and of none."""
    gone, _ = processes.launch(["true"], None, "/dev/null")
    gone.wait()
    ended = note | {"pid": gone.pid}
    return [ended, note | {"began": note["began"] - 1}, ended | {"began": None}, note | {"pid": None}]


def nodes_of_the_store(folder: str) -> None:
    """Each note at which `stop` looks names a living sleeper; it ends the one that is its node, and the others live."""
    store = pathlib.Path(folder) / "store"
    store.mkdir()
    homes = [store / f"node{number}" for number in (1, 2, 3)]
    with contextlib.ExitStack() as begun:
        begin = lambda *words: begun.enter_context(Begun([*SLEEPS, *words], folder))
        # The first is a node; the second one of another place, whose name begins alike; the third is no node at all.
        node, other, none = begin(f"-Dcassandra.storagedir={homes[0]}"), begin(f"-Dcassandra.storagedir={homes[1]}0"), begin()
        notes = [one.note for one in (node, other, none)]
        assert [cassandra.is_ours(note, home) for note, home in zip(notes, homes)] == [True, False, False]
        assert not cassandra.is_ours(node.note, homes[1]), "a node counts as another one"
        for note in [{}, *forged(node.note)]:
            assert not cassandra.is_ours(note, homes[0]), note
        (store / cassandra.STATE).write_text(json.dumps({"dir": str(store), "nodes": [*notes[1:2], *notes[1:]]}))
        assert cassandra.stop(store, kill=True) == [], "a process was ended by a note that is not its own"
        (store / cassandra.STATE).write_text(json.dumps({"dir": str(store), "nodes": notes}))
        assert cassandra.stop(store) == [node.child.pid] and node.child.wait() == -signal.SIGTERM
        assert other.child.poll() is None and none.child.poll() is None, "a process was ended that is no node"


def the_server_of_the_bus(folder: str) -> None:
    bus = pathlib.Path(folder) / "bus"
    bus.mkdir()
    with contextlib.ExitStack() as begun:
        begin = lambda *words: begun.enter_context(Begun([*SLEEPS, *words], folder))
        server, none = begin("-c", str(bus / nats.CONFIGURATION)), begin()
        other = begin("-c", str(pathlib.Path(folder) / "other" / nats.CONFIGURATION))
        for note in [*forged(server.note), other.note, none.note, {}]:
            (bus / nats.STATE).write_text(json.dumps(note))
            assert nats.running(bus) is None, note
            assert not nats.stop(bus, kill=True), note
        assert all(one.child.poll() is None for one in (server, other, none)), "a process was ended by a note that is not its own"
        (bus / nats.STATE).write_text(json.dumps(server.note))
        assert nats.running(bus) == server.note and nats.stop(bus)
        assert not processes.runs(server.note) and other.child.poll() is None and none.child.poll() is None


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        forged_notes_signal_nobody(folder)
        paused_and_deaf_ones_end(folder)
        a_script_and_one_that_ends_at_once(folder)
        nodes_of_the_store(folder)
        the_server_of_the_bus(folder)
    ports = processes.free_ports(50, ("127.0.0.1", "127.0.0.2"))
    assert len(set(ports)) == 50
    print("processes, nodes of the store, the bus: forged notes signal nobody, true ones end theirs: passed")


if __name__ == "__main__":
    main()
