"""A backup of a cluster under load, restored into one process; a backup of that one, restored into an empty cluster.

    tests/client/run backup-cluster [--writes 1000] [--seed 1] [--store-nodes 1]

People on two servers write; in the midst `p92 backup` asks one process of the cluster. Then the cluster ends, and the backup
is restored into an empty directory for one process with the embedded store. Everything acknowledged before it is asked for
there, with the tokens of before; repeats under their keys give the same posts, views equal their rebuilds, and everybody
works on. Then that process is backed up by the same command and ends, and its backup is restored into a cluster whose store
held nothing before: there is asked for what was acknowledged on the whole way, in the cluster before its backup and in the
one process. So an installation shrinks and grows without losing anything. What is asked is that of `backup.py`.
"""

import argparse
import json
import pathlib
import shutil
import tempfile
import threading
import time

from backup import Expected, check, enough, planted, restored, run, work
from history import load
from node import Node
from record import Recorder
from replicas import Replicas
from workload import REBUILT_AT_ONCE, Stage

# Views are built anew from the first event on.
BUILT_WITHIN = 120.0
# Acknowledged by the one process before it is backed up.
WRITES_ALONE = 200


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--writes", type=int, default=1000)
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("--store-nodes", type=int, default=1, choices=[1, 3])
    given = flags.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        recorder, node = Recorder(folder / "history.jsonl"), None

        def begin(data: pathlib.Path, **more) -> Replicas:
            nonlocal node
            node = Replicas(data, store_nodes=given.store_nodes, **more)
            return node

        try:
            (folder / "before").mkdir()
            stage = Stage(folder / "before", recorder, given.seed, begin=begin)
            place, keys = folder / "backup", folder / "copy.keys"
            take = lambda: node.cluster.p92("backup", str(place), "--json", name="posting-2")
            said = work(stage, given.writes, take)["manifest"]
            shutil.copy(node.cluster.dir / "keys" / "p92.keys", keys)
            assert node.stop() == 0, "a process of the cluster exited with another code than 0"
            before = expected(recorder)
            print(alone(stage, folder, place, keys, recorder), flush=True)
            since = expected(recorder)
            assert len(since.done) >= len(before.done) + WRITES_ALONE, "what the one process acknowledged is not asked for"
            print(again(stage, folder, folder / "backup-alone", keys, since, begin), flush=True)
            code = node.stop()
        except BaseException:
            last = stage.node if "stage" in locals() else node
            if last:
                print(last.last_words())
                last.kill()
            raise
        finally:
            recorder.close()
    assert code == 0, f"a process of the restored cluster exited with {code}"
    print(f"backup of a cluster: {said['events']} events and {said['rows']} rows of state taken under load; {len(before.done)} "
          f"writes acknowledged before it, {len(since.done)} before that of the one process; seed {given.seed}")


def expected(recorder: Recorder) -> Expected:
    """What must be there by what is recorded so far."""
    recorder.file.flush()
    return Expected(load(str(recorder.path)).lines)


def alone(stage: Stage, folder: pathlib.Path, place: pathlib.Path, keys: pathlib.Path, recorder: Recorder) -> str:
    """Restored into an empty directory; backed up again when everybody has worked on."""
    recorder.file.flush()
    here, lines = folder / "alone", load(str(recorder.path)).lines
    here.mkdir()
    done = restored(here, place, keys)
    assert done.returncode == 0, done.stderr
    recorder.write("backup", phase="restored")
    stage.folder, stage.node = here, Node(here / "data", stage.port, flags=("--keys", str(keys)))
    stage.reach()
    built(stage)
    found = enough(check(stage, Expected(lines)))
    planted(stage, lines)
    rows = stage.rebuild_all()
    stage.work(WRITES_ALONE)
    more = stage.rebuild_all()
    # From here on the key file of the cluster before opens nothing; the cluster after is given the one that this process has.
    stage.node.cli("keys", "rotate")
    recorder.write("backup", phase="begins")
    taken = run("backup", str(folder / "backup-alone"), "--data", str(stage.node.data), "--json")
    recorder.write("backup", phase="ended")
    assert taken.returncode == 0, taken.stderr
    assert stage.node.stop() == 0
    return (f"in one process {found} found, {len(stage.views)} views equal in {rows} rows, after {WRITES_ALONE} writes more in "
            f"{more}")


def again(stage: Stage, folder: pathlib.Path, place: pathlib.Path, keys: pathlib.Path, since: Expected, begin) -> str:
    """What was backed up of the one process, restored into an empty cluster."""
    here, took = folder / "again", 0.0
    here.mkdir()

    def fill(cluster) -> None:
        nonlocal took
        began = time.monotonic()
        shutil.copy(keys, cluster.dir / "keys" / "p92.keys")
        done = cluster.p92("restore", str(place), "--json", "--data", str(cluster.dir / "data" / "none"))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["unreadable"] == 0, done.stdout
        took = time.monotonic() - began
        # Twice would double everything.
        refused = cluster.p92("restore", str(place), "--json", "--data", str(cluster.dir / "data" / "none"))
        assert refused.returncode != 0 and "is not empty" in refused.stderr, refused

    stage.folder, stage.node = here, begin(here / "data", first=fill, port=stage.port)
    stage.reach()
    built(stage)
    found = enough(check(stage, since))
    rows = stage.rebuild_all(REBUILT_AT_ONCE)
    stage.work(100, operate=False)
    built(stage)
    more = stage.rebuild_all(REBUILT_AT_ONCE)
    return (f"in a cluster, restored in {took:.1f} s, {found} found, {len(stage.views)} views equal in {rows} rows, after 100 "
            f"writes more in {more}")


def built(stage: Stage) -> None:
    """Waits until every view is."""
    ends = time.monotonic() + BUILT_WITHIN
    while not stage.caught_up():
        assert time.monotonic() < ends, "views are not built: " + stage.node.cli("lag")
        threading.Event().wait(0.1)


if __name__ == "__main__":
    main()
