"""A backup of a cluster under load, restored into an empty directory and into an empty cluster.

    tests/client/run backup-cluster [--writes 600] [--seed 1] [--store-nodes 1]

People on two servers write; in the midst `p92 backup` asks one process of the cluster. Then the cluster ends. What was
acknowledged before the backup began is asked for twice, with the tokens of before: of one process with the embedded store,
into which the backup was restored, and of a cluster whose store held nothing before. Repeats under their keys give the
same posts, views equal their rebuilds, and everybody works on. What is asked is that of `backup.py`.
"""

import argparse
import json
import pathlib
import shutil
import tempfile
import threading
import time

from backup import Expected, check, planted, restored, work
from history import load
from node import Node
from record import Recorder
from replicas import Replicas
from workload import Stage

# Views are built anew from the first event on.
BUILT_WITHIN = 120.0


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--writes", type=int, default=600)
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
            recorder.file.flush()
            lines = load(str(recorder.path)).lines
            expected = Expected(lines)
            told = [alone(stage, folder, place, keys, lines, expected), again(stage, folder, place, keys, expected, begin)]
            code = node.stop()
        except BaseException:
            print(stage.node.last_words() if "stage" in locals() else "no cluster came up")
            if "stage" in locals():
                stage.node.kill()
            raise
        finally:
            recorder.close()
    assert code == 0, f"a process of the restored cluster exited with {code}"
    print(f"backup of a cluster: {said['events']} events and {said['rows']} rows of state taken under load; {len(expected.done)} "
          f"writes acknowledged before it; {'; '.join(told)}; seed {given.seed}")


def alone(stage: Stage, folder: pathlib.Path, place: pathlib.Path, keys: pathlib.Path, lines: list, expected: Expected) -> str:
    """Restored into an empty directory."""
    here = folder / "alone"
    here.mkdir()
    done = restored(here, place, keys)
    assert done.returncode == 0, done.stderr
    stage.folder, stage.node = here, Node(here / "data", stage.port, flags=("--keys", str(keys)))
    stage.reach()
    built(stage)
    found = counted(check(stage, expected))
    planted(stage, lines)
    rows = stage.rebuild_all()
    stage.work(100)
    more = stage.rebuild_all()
    assert stage.node.stop() == 0
    return f"in one process {found} found, {len(stage.views)} views equal in {rows} rows, after 100 writes more in {more}"


def again(stage: Stage, folder: pathlib.Path, place: pathlib.Path, keys: pathlib.Path, expected: Expected, begin) -> str:
    """Restored into an empty cluster."""
    here, took = folder / "again", 0.0
    here.mkdir()

    def fill(cluster) -> None:
        nonlocal took
        since = time.monotonic()
        shutil.copy(keys, cluster.dir / "keys" / "p92.keys")
        done = cluster.p92("restore", str(place), "--json", "--data", str(cluster.dir / "data" / "none"))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["unreadable"] == 0, done.stdout
        took = time.monotonic() - since
        # Twice would double everything.
        refused = cluster.p92("restore", str(place), "--json", "--data", str(cluster.dir / "data" / "none"))
        assert refused.returncode != 0 and "is not empty" in refused.stderr, refused

    stage.folder, stage.node = here, begin(here / "data", first=fill, port=stage.port)
    stage.reach()
    built(stage)
    found = counted(check(stage, expected))
    rows = stage.rebuild_all()
    stage.work(100, operate=False)
    built(stage)
    more = stage.rebuild_all()
    return (f"in a cluster, restored in {took:.1f} s, {found} found, {len(stage.views)} views equal in {rows} rows, after 100 "
            f"writes more in {more}")


def counted(found: dict[str, int]) -> dict[str, int]:
    assert min(found[kind] for kind in ("posts", "marks", "follows", "repeats")) > 0, f"too little was asked for: {found}"
    return found


def built(stage: Stage) -> None:
    """Waits until every view is."""
    ends = time.monotonic() + BUILT_WITHIN
    while not stage.caught_up():
        assert time.monotonic() < ends, "views are not built: " + stage.node.cli("lag")
        threading.Event().wait(0.1)


if __name__ == "__main__":
    main()
