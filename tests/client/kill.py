"""kill -9 under a mixed load: what was acknowledged is there once, what was not is there at most once, repeats settle it.

    tests/client/run kill [--kills 50] [--seed 1] [--history FILE] [--start-within 2]

Ten people on two servers post, edit, delete, like, boost, follow, block, sign up and read. At random moments the process
is killed and started again on the same data, the start sometimes being killed too, and every request whose answer was lost is repeated with its key. All of it
is recorded; `invariants.py` judges the record, and is then itself judged on planted violations (`history_test.py`).
P92_BIN chooses another binary than the debug build.
"""

import argparse
import pathlib
import random
import statistics
import subprocess
import tempfile
import threading

import history_test
import invariants
from history import load
from node import ROOT
from record import Recorder
from workload import Stage

# Under so many acknowledged writes a run shows nothing.
LEAST = 1000


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--kills", type=int, default=50)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--history", type=pathlib.Path, help="where the recorded history is kept; thrown away if not given")
    arguments.add_argument("--start-within", type=float, help="fail if a start takes longer, in seconds; for a quiet machine")
    arguments = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.history or pathlib.Path(folder) / "history.jsonl"
        recorder = Recorder(path)
        stage = Stage(pathlib.Path(folder), recorder, arguments.seed)
        try:
            starts, repeats = kills(stage, arguments)
            stage.settle()
            rows = stage.rebuild_all()
            code = stage.node.stop()
        except BaseException:
            print(open(stage.node.log.name, errors="replace").read()[-3000:])
            stage.node.process.kill()
            raise
        finally:
            recorder.close()
        print(f"{len(stage.views)} views rebuilt and equal to the live ones, {rows} rows compared")
        judge(path, arguments, starts, repeats)
    assert code == 0, f"the last stop exited with {code}"


def kills(stage: Stage, arguments: argparse.Namespace) -> tuple[list[float], int]:
    """The faults: how long each start took, and how many requests were repeated."""
    chance, starts, repeats, refused = random.Random(arguments.seed), [], 0, []
    usual = max(40, 3 * LEAST // 2 // arguments.kills)
    for number in range(arguments.kills):
        begun = stage.begin()
        # The moment is so many answers and a little later, so that a slow machine does as much as a fast one.
        for _ in range(chance.randint(usual // 2, usual * 3 // 2)):
            assert stage.world.acked.acquire(timeout=60), "nothing was acknowledged for a minute"
        threading.Event().wait(chance.uniform(0.0, 0.06))
        stage.recorder.write("fault", kind="F02", number=number)
        stage.node.kill()
        for one in begun:
            one.join()
        # Now and then the next start is killed as well: what it has repaired so far must not hurt the one after.
        while chance.random() < 0.3:
            stage.stillborn(chance.uniform(0.0, 0.5))
        starts.append(stage.restart())
        count, more = stage.repeat(begun)
        repeats, refused = repeats + count, refused + more
    assert not refused, f"repeats were refused: {refused[:3]}"
    return starts, repeats


def promised(history, found: dict, injected: int, kinds: str, seed: int) -> tuple[int, str]:
    """How many writes were acknowledged, and the line that every run with faults prints."""
    states = ["failed" if one.state == "unknown" and not one.lost else one.state for one in history.commands]
    lost = len(found["I1"]) + len(found["I4"])
    doubled = len(found["I2"]) + len(found["I15"]) + len(found["I9"])
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    return states.count("acked"), (
        f"faults injected {injected} / kinds {kinds} / acked {states.count('acked')} / unknown {states.count('unknown')} / "
        f"failed {states.count('failed')} / lost {lost} / duplicated {doubled} / seed {seed} / commit {commit.strip()}"
    )


def judge(path: pathlib.Path, arguments: argparse.Namespace, starts: list[float], repeats: int) -> None:
    history = load(str(path))
    found = invariants.check(history)
    faults = [line for line in history.lines if line["is"] == "fault"]
    early, injected = sum("early" in line for line in faults), len(starts)
    acked, line = promised(history, found, len(faults), "F02", arguments.seed)
    print(line)
    print(f"killed at work {injected}, while starting {early}; repeated with their key {repeats}; reads judged {len(history.reads)}; rows of logs {len(history.rows)}")
    operator = [line for line in history.lines if line["is"] == "operator"]
    differ = [line for line in operator if "difference" in line.get("failed", "")]
    ended = sum("failed" in line for line in operator)
    print(f"views rebuilt and keys rotated meanwhile {len(operator)}, of them ended by a kill {ended}")
    assert not differ, f"a view differs from its rebuild: {differ[:3]}"
    print(f"starts after kill -9: median {statistics.median(starts):.2f} s, slowest {max(starts):.2f} s")
    for name, problems in found.items():
        for problem in problems[:5]:
            print(f"{name} is broken ({len(problems)}): {problem}")
    assert not any(found.values()), "invariants are broken"
    history_test.plant_all(history)
    assert injected >= 0.9 * arguments.kills and acked >= LEAST, "too little was done to mean anything"
    assert repeats >= min(200, arguments.kills * 3), f"only {repeats} answers were lost"
    assert not arguments.start_within or max(starts) < arguments.start_within, f"a start took {max(starts):.2f} s"


if __name__ == "__main__":
    main()
