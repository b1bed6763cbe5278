"""NATS killed and its data removed under load, again and again: nothing acknowledged is lost, and readers catch up.

    tests/client/run bus [--wipes 5] [--within 30] [--seed 1] [--history FILE]

A cluster of two replicas of each service and two gateways; ten people on two servers post, edit, delete, like, boost,
follow, block, sign up and read. Each time NATS gets kill -9, its directory is removed, and people work on without it; then
an empty one starts on the same port, and people work on with it. Writes are counted while it is away, readers are watched
from the moment it is back, and what went over the new one is counted, so that a bus that is never used again is noticed.
The recorded history is judged by `invariants.py`, as after every fault, and that by planted violations.
"""

import argparse
import json
import pathlib
import tempfile
import threading
import time

import history_test
import invariants
from history import load
from kill import LEAST, promised
from record import Recorder
from replicas import Replicas
from workload import Stage

RECEIVED, REPAIRS = "p92_eventlog_bus_received_total", "p92_eventlog_bus_repairs_total"


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--wipes", type=int, default=5)
    flags.add_argument("--within", type=float, default=30.0, help="seconds until lag must be 0 again")
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("--history", type=pathlib.Path, help="where the recorded history is kept; thrown away if not given")
    given = flags.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.history or pathlib.Path(folder) / "history.jsonl"
        recorder = Recorder(path)
        node = None

        def begin(data: pathlib.Path) -> Replicas:
            nonlocal node
            node = Replicas(data)
            return node

        try:
            stage = Stage(pathlib.Path(folder), recorder, given.seed, begin=begin)
            repeats = wipes(stage, given)
            stage.settle()
        except BaseException:
            print(node.last_words() if node else "no cluster came up")
            raise
        finally:
            recorder.close()
            code = node.stop() if node else 0
        assert code == 0, f"a stop exited with {code}"
        judge(path, given, repeats)


def wipes(stage: Stage, given: argparse.Namespace) -> int:
    """The faults; how many requests were repeated to settle them."""
    # So many writes in each of the three parts of a round that the whole is more than the least that means anything.
    part, repeats = -(-LEAST * 11 // 10 // given.wipes // 3), 0
    # Once before it counts: the first call compiles the contract.
    places(stage)
    for number in range(1, given.wipes + 1):
        begun = stage.begin(operate=False)
        acknowledged(stage, part)
        before = [stage.node.measured(metric) for metric in (RECEIVED, REPAIRS)]
        stage.recorder.write("fault", kind="F15", number=number)
        stage.node.cluster.wipe_bus()
        stage.recorder.write("fault", kind="F18", number=number)
        gone = time.monotonic()
        acknowledged(stage, part)
        away = time.monotonic() - gone
        stage.node.cluster.start("nats")
        since = time.monotonic()
        stage.recorder.write("fault", kind="end")
        followed = readers_follow(stage, given.within, since)
        acknowledged(stage, part)
        stage.world.enough.set()
        for one in begun:
            one.join()
        count, refused = stage.repeat(begun)
        assert not refused, f"repeats were refused: {refused[:3]}"
        once_more(stage)
        ended = time.monotonic()
        wait_for_no_lag(stage, given.within, ended)
        told = [stage.node.measured(metric) - one for metric, one in zip((RECEIVED, REPAIRS), before)]
        assert all(told), f"the new bus is not used: {told[0]} groups received, {told[1]} streams made"
        if count:
            print(stage.node.last_words())
        repeats += count
        print(f"wipe {number}: {part} writes in {away:.1f} s without NATS; readers were past the heads of its return "
              f"{followed:.1f} s after it, under load; lag 0 everywhere {time.monotonic() - ended:.1f} s after the load; "
              f"{told[1]} streams made anew, {told[0]} groups over the bus; {count} answers lost and repeated", flush=True)
    return repeats


def once_more(stage: Stage) -> None:
    """Everybody posts and repeats that with its key, which the next gateway gets: it must be told the same post."""
    for one in stage.people:
        memory = stage.memory(one)
        key = memory.key(one.name)
        args = {"status": f"{key} once", "visibility": "public", "_mentions": []}
        how, result, number = one.do("publish", key, **args)
        if how == "ok":
            memory.note("publish", args, result, stage.world)
            one.do("publish", key, number, **args)


def acknowledged(stage: Stage, writes: int) -> None:
    for _ in range(writes):
        assert stage.world.acked.acquire(timeout=60), "nothing was acknowledged for a minute"


def places(stage: Stage) -> dict[tuple, tuple[int, int]]:
    """(log, shard, reader, whose memory) → the log's head and how far the reader has come."""
    return {
        (one["service"], one.get("shard", 0), one.get("reader", ""), one.get("process", "") if one.get("memory") else ""):
            (int(one.get("head", 0)), int(one.get("applied", 0)))
        for one in json.loads(stage.node.cli("lag", "--json"))["lags"]
    }


def readers_follow(stage: Stage, within: float, since: float) -> float:
    """Waits until every reader has passed the head that its log had first; how long that took, from `since`."""
    goals = {key: head for key, (head, _) in places(stage).items()}
    while True:
        now = places(stage)
        # A reader that moved to another process has another name there; the one that took it over is in `now` as well.
        behind = {key: goal for key, goal in goals.items() if key in now and now[key][1] < goal}
        took = time.monotonic() - since
        if not behind:
            return took
        assert took < within, f"after {took:.0f} s readers are behind: {list(behind.items())[:5]}"
        threading.Event().wait(0.05)


def wait_for_no_lag(stage: Stage, within: float, since: float) -> None:
    while behind := {key: place for key, place in places(stage).items() if place[0] != place[1]}:
        assert time.monotonic() - since < within, f"lag is not 0 after {within:.0f} s: {list(behind.items())[:5]}"


def judge(path: pathlib.Path, given: argparse.Namespace, repeats: int) -> None:
    history = load(str(path))
    found = invariants.check(history)
    faults = [line for line in history.lines if line["is"] == "fault" and line["kind"] != "end"]
    acked, line = promised(history, found, len(faults), "F15 F18", given.seed)
    print(line)
    print(f"repeated with their key {repeats}; reads judged {len(history.reads)}; rows of logs {len(history.rows)}")
    for name, problems in found.items():
        for problem in problems[:5]:
            print(f"{name} is broken ({len(problems)}): {problem}")
    assert not any(found.values()), "invariants are broken"
    history_test.plant_all(history)
    assert len(faults) == 2 * given.wipes and acked >= LEAST, "too little was done to mean anything"


if __name__ == "__main__":
    main()
