"""A disk that is slow, that fails, that is full: what is acknowledged then, what is read, and how it goes on.

    tests/client/run faults [slow] [failing] [single] [full] [--seed 1]

slow     every sync takes 500 ms longer (strace): no write is acknowledged sooner; a twin under strace alone is far quicker
failing  every sync fails with EIO (strace): no write is acknowledged, reads go on, the process says what to do; it takes
         writes again when the fault ends, and likewise after a kill -9 in the midst of it
single   now and then one sync fails with EIO while people work: what it carried is repeated with its key, the rest goes on
full     a small tmpfs fills up: writes are refused in words, reads go on, writes go on when there is space; then the same
         without the guard that keeps 256 MiB free, so that the engine itself meets the end of the disk

Each is judged by the recorded history as well (`invariants.py`). strace needs leave to trace, the tmpfs leave to mount.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import invariants
from history import load
from kill import LEAST, promised
from record import Recorder
from workload import Stage

SLOWER = 0.5
# Writes that people do before and after each scene.
WRITES = 200
# Syncs that fail while people work.
ROUNDS = 20
MIB = 1024 * 1024


class Traced:
    """strace on a running process; with `fault`, every sync meets it."""

    def __init__(self, stage: Stage, fault: str = ""):
        if not shutil.which("strace"):
            sys.exit("strace is missing (Debian: apt-get install strace)")
        self.file, self.fault, self.stage = stage.folder / "strace", fault, stage
        self.command = ["strace", "-f", "-o", str(self.file), "-e", "trace=fdatasync,fsync"]
        if fault:
            self.command += ["-e", f"inject=fdatasync,fsync:{fault}"]
        self.command += ["-p", str(stage.node.process.pid)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        if "attached" not in line:
            sys.exit(f"strace may not trace: {line.strip()} (run as root, or: sysctl kernel.yama.ptrace_scope=0)")
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        if self.fault:
            self.stage.recorder.write("fault", kind="F27" if "delay" in self.fault else "F26", injected=self.fault)
        return self

    def __exit__(self, *_) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.stage.recorder.write("fault", kind="end")
        lines = self.file.read_text(errors="replace").splitlines()
        self.hits = sum("(DELAYED)" in line or "(INJECTED)" in line for line in lines)


class Deeds:
    """Writes that all must be synced, done by everybody at once. A write is never repeated before `settle`."""

    def __init__(self, stage: Stage):
        self.stage, self.targets = stage, []
        self.pending: list[tuple] = []

    def prepare(self) -> None:
        """Fresh posts, so that every mark on them is new."""
        self.targets = [result["item"]["id"] for _, _, _, result in self._everybody(lambda one, index: [self._publish(one)])]

    def write(self) -> list[tuple]:
        """(what, how it ended, how long it took, result) of every write."""
        return self._everybody(self._one)

    def write_alone(self) -> list[tuple]:
        """The same of one person, while nobody else writes."""
        return list(self._one(self.stage.people[0], 0))

    def _everybody(self, deed) -> list[tuple]:
        done, threads = [[] for _ in self.stage.people], []

        def run(one, index):
            # The server closes connections that wait for long, which is no fault.
            one.connection = None
            done[index] += deed(one, index)

        for index, one in enumerate(self.stage.people):
            threads.append(threading.Thread(target=run, args=(one, index), daemon=True))
            threads[-1].start()
        for thread in threads:
            thread.join()
        return [what for one in done for what in one]

    def _do(self, one, do: str, form: dict | None = None, session=None, **args) -> tuple:
        session = session or one
        key = self.stage.memory(session).key(session.name)
        if do in ("publish", "edit"):
            args["status"] = key + args["status"]
        since = time.monotonic()
        how, result, number = session.do(do, key, form=form, **args)
        # What the server says it did not do is left at that: it must never appear.
        if how == "unknown":
            self.pending.append((session, do, key, number, args))
        return do, how, time.monotonic() - since, result

    def _publish(self, one) -> tuple:
        return self._do(one, "publish", status=" hello", visibility="public", _mentions=[])

    def _one(self, one, index: int):
        other = self.targets[(index + 1) % len(self.targets)]
        whom = self.stage.people[(index + 1) % len(self.stage.people)].account
        yield self._publish(one)
        yield self._do(one, "edit", post=self.targets[index], status=" anew")
        yield self._do(one, "like", post=other)
        yield self._do(one, "boost", post=other)
        follows = one.do("relationships", **{"id[]": [whom]})[1]["relations"][0]["follows"]
        yield self._do(one, "unfollow" if follows else "follow", whom=whom)

    def read(self) -> list[tuple]:
        """What everybody reads: (what, how it ended, result)."""
        done = []
        for index, one in enumerate(self.stage.people):
            one.connection = None
            for do, args in (
                ("home", {}), ("posts", {"whom": one.account}), ("show", {"post": self.targets[index]}),
                ("thread", {"post": self.targets[index]}), ("notifications", {}), ("account", {"whom": one.account}),
            ):
                how, result, _ = one.do(do, **args)
                done.append((do, how, result))
        return done

    def settle(self, within: float = 30.0) -> float:
        """Repeats everything that is open with its key until it is settled; how long until the first was acknowledged."""
        since, took = time.monotonic(), None
        for session, do, key, number, args in self.pending:
            session.connection = None
            while True:
                how, result, _ = session.do(do, key, number, **args)
                if how == "ok":
                    took = took or time.monotonic() - since
                if how != "unknown" or result.get("absent"):
                    break
                assert time.monotonic() - since < within, f"{do} {key} was not settled within {within} s: {result}"
                # A refusal says when to come again; this asks a little sooner, to see when writes go on.
                threading.Event().wait(0.05)
        self.pending = []
        return took or 0.0


def reads_go_on(deeds: Deeds) -> int:
    done = deeds.read()
    broken = [(do, how, result) for do, how, result in done if how != "ok" or result.get("absent")]
    assert not broken, f"reads did not go on: {broken[:3]}"
    return len(done)


def nothing_acknowledged(deeds: Deeds) -> tuple[int, set[str]]:
    """Everybody writes, nothing is acknowledged; how many writes, and in which words each was refused after how long."""
    done = deeds.write()
    acked = [what for what in done if what[1] == "ok"]
    assert not acked, f"acknowledged though nothing can be synced: {acked[:3]}"
    words = {}
    for _, _, took, result in done:
        words.setdefault(str(result.get("error")), []).append(took)
    return len(done), {f"{text} ({len(took)} times, after {min(took):.1f} to {max(took):.1f} s)" for text, took in words.items()}


def logged(stage: Stage, words: str) -> str:
    """The message of the log that has these words."""
    for line in open(stage.node.log.name, errors="replace"):
        if line.startswith("{") and words in line:
            return json.loads(line)["error"]
    raise AssertionError(f"the log does not say {words!r}")


def between(done: list[tuple]) -> str:
    return f"after {min(what[2] for what in done):.3f} to {max(what[2] for what in done):.3f} s"


def slow(stage: Stage) -> str:
    deeds = Deeds(stage)
    deeds.prepare()
    with Traced(stage):
        twin = deeds.write()
    deeds.prepare()
    with Traced(stage, f"delay_enter={int(SLOWER * 1_000_000)}") as fault:
        alone = deeds.write_alone()
        deeds.prepare()
        late = deeds.write()
        reads = reads_go_on(deeds)
    for what in twin + alone + late:
        assert what[1] == "ok", what
    usual, soonest = statistics.median(what[2] for what in twin), min(alone + late, key=lambda what: what[2])
    assert soonest[2] >= SLOWER, f"a write was acknowledged after {soonest[2]:.3f} s: {soonest}"
    assert usual < SLOWER / 2, f"the twin took {usual:.3f} s"
    assert fault.hits >= 10, f"only {fault.hits} syncs were delayed"
    return (
        f"slow: {fault.hits} delayed syncs; {len(alone)} writes one by one acknowledged {between(alone)}, "
        f"{len(late)} of everybody at once {between(late)}; "
        f"the twin's {len(twin)} after {usual:.3f} s in the median; {reads} reads meanwhile"
    )


def failing(stage: Stage) -> str:
    deeds = Deeds(stage)
    deeds.prepare()
    # Readers write too, so they stand still while nothing is written.
    stage.catch_up()
    with Traced(stage, "error=EIO") as fault:
        writes, words = nothing_acknowledged(deeds)
        reads = reads_go_on(deeds)
    advice = logged(stage, "what to do").replace("\n", ";")
    again = deeds.settle()
    deeds.prepare()
    with Traced(stage, "error=EIO") as second:
        more, _ = nothing_acknowledged(deeds)
        stage.recorder.write("fault", kind="F02")
        stage.node.kill()
    start = stage.restart()
    deeds.settle()
    deeds.prepare()
    assert all(what[1] == "ok" for what in deeds.write()), "after a restart without the fault writes do not go on"
    print(f"    clients were told: {sorted(words)}\n    the log says: {advice}")
    return (
        f"failing: {writes + more} writes, none acknowledged, over {fault.hits + second.hits} failed syncs; {reads} reads "
        f"meanwhile; writes again {again:.2f} s after the fault; after kill -9 in it a start took {start:.2f} s"
    )


def single(stage: Stage) -> str:
    chance, hits, settled = random.Random(stage.seed), 0, 0
    for _ in range(ROUNDS):
        # strace counts for each thread; nearly all syncs are those of the one thread that commits.
        with Traced(stage, f"error=EIO:when={chance.randint(1, 12)}") as fault:
            settled += stage.work(WRITES // 8)
        hits += fault.hits
    assert hits >= ROUNDS * 0.9, f"only {hits} syncs failed"
    return f"single: {hits} failed syncs under work, {settled} requests repeated with their key"


def full(stage: Stage) -> str:
    deeds, said = Deeds(stage), []
    deeds.prepare()
    for floor in (256, 0):
        if floor == 0:
            assert stage.node.stop() == 0
            os.environ["P92_STORE__FREE_FLOOR_MIB"] = "0"
            try:
                stage.restart()
            finally:
                del os.environ["P92_STORE__FREE_FLOOR_MIB"]
            deeds.prepare()
        # A reader writes too: on a full disk it would stand still before what its people wrote last, and they would wait.
        stage.catch_up()
        stage.recorder.write("fault", kind="F25", floor=floor)
        ballast = stage.folder / "ballast"
        fill(ballast, leave=200 * MIB if floor else 0)
        if floor:
            writes, words = nothing_acknowledged(deeds)
        else:
            writes, words = until_refused(deeds)
        reads = reads_go_on(deeds)
        ballast.unlink()
        stage.recorder.write("fault", kind="end")
        again = deeds.settle()
        deeds.prepare()
        assert all(what[1] == "ok" for what in deeds.write()), "writes do not go on after there is space"
        print(f"    clients were told: {sorted(words)}")
        said.append(f"floor {floor} MiB: {writes} writes refused, {reads} reads meanwhile, writes again after {again:.2f} s")
    return "full: " + "; ".join(said)


def until_refused(deeds: Deeds) -> tuple[int, set[str]]:
    """Writes until the disk has no more; the places that files already have may take some before."""
    for _ in range(400):
        if any(what[1] != "ok" for what in deeds.write()):
            return nothing_acknowledged(deeds)
        deeds.prepare()
    raise AssertionError("the disk did not fill up")


def fill(path: pathlib.Path, leave: int) -> None:
    """Fills the file system up to so many bytes."""
    with open(path, "ab") as file:
        while True:
            free = os.statvfs(path).f_bavail * os.statvfs(path).f_frsize
            if free <= leave:
                return
            try:
                file.write(b"\1" * min(MIB, free - leave))
                file.flush()
            except OSError:
                return


SCENES = {"slow": slow, "failing": failing, "single": single, "full": full}


def play(name: str, folder: pathlib.Path, seed: int) -> int:
    """One scene, with people at work before and after it; how many writes were acknowledged."""
    path = folder.parent / f"{folder.name}.jsonl"
    recorder = Recorder(path)
    stage = Stage(folder, recorder, seed)
    try:
        stage.work(WRITES)
        said = SCENES[name](stage)
        stage.work(WRITES)
        stage.settle()
        code = stage.node.stop()
    except BaseException:
        print(open(stage.node.log.name, errors="replace").read()[-3000:])
        stage.node.process.kill()
        raise
    finally:
        recorder.close()
    print(said)
    history = load(str(path))
    found = invariants.check(history)
    kinds = [line["kind"] for line in history.lines if line["is"] == "fault" and line["kind"] != "end"]
    acked, line = promised(history, found, len(kinds), " ".join(sorted(set(kinds))), seed)
    print(line)
    broken = {name: problems[:3] for name, problems in found.items() if problems}
    assert not broken, f"invariants are broken: {broken}"
    assert code == 0, f"the last stop exited with {code}"
    return acked


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("scenes", nargs="*", metavar="scene", help=" ".join(SCENES))
    arguments.add_argument("--seed", type=int, default=1)
    arguments = arguments.parse_args()
    scenes = arguments.scenes or list(SCENES)
    acked = sum(staged(name, arguments.seed) for name in scenes)
    assert acked >= LEAST * len(scenes) / len(SCENES), f"{acked} acknowledged writes are too few to mean anything"


def staged(name: str, seed: int) -> int:
    """A scene in a directory of its own; that of `full` is a small tmpfs."""
    with tempfile.TemporaryDirectory() as outer:
        folder = pathlib.Path(outer) / name
        folder.mkdir()
        if name != "full":
            return play(name, folder, seed)
        mount = ["mount", "-t", "tmpfs", "-o", "size=640M", "tmpfs", str(folder)]
        if subprocess.run(mount, check=False).returncode != 0:
            sys.exit("a tmpfs may not be mounted here: run as root, or name the scenes without `full`")
        try:
            return play(name, folder, seed)
        finally:
            subprocess.run(["umount", "--lazy", str(folder)], check=False)


if __name__ == "__main__":
    main()
