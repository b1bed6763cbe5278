"""A storm: one fault after the other on a cluster under load, and what was acknowledged is there once.

    tests/client/run storm [--store-nodes 3] [--minutes 10] [--injections 60] [--seed 1] [--history FILE] [--print-schedule]
    tests/client/run storm --judge FILE      a history that was kept, once more

Two replicas of each service, two gateways and one or three store nodes; thirty people on two servers write and read all the
time, and repeat with its key whatever lost its answer. The seed makes the schedule, which is printed first: which fault
(`injections.py`) comes when. A third of them stop an owner between its decision and its append until another replica has
taken over, half of those in the process and half on the way to the store; `probes.py` then asks the old owner. After each
injection every shard must take writes again. The recorded history is judged by `invariants.py`, and that by planted
violations. It needs a build with the feature `failpoints`, which `tests/client/run` makes.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import tempfile
import threading
import time

import history_test
import injections
import invariants
from bus import once_more, places
from history import History, load
from kill import LEAST, promised
from probes import Lost, Posting
from proxy import Remote
from record import Recorder
from replicas import Replicas
from workload import DEEDS, REBUILT_AT_ONCE, Person, Racer, Stage

# More looking than in other runs, since reads are what tells of the past; most of it at single posts, since a page of them
# asks the store as often as three writes do.
LOOKS = {"home": 6, "posts": 2, "show": 24, "thread": 4, "notifications": 2, "relationships": 1}
# Each waits for one answer at a time, so that an owner who stands still makes some of them wait.
PEOPLE = {"localhost": 18, "second.localhost": 12}
# After how long whoever is told to come again does, as servers ask for.
COMES_AGAIN = 1.0
# Until then every shard must take writes again, and readers must have caught up.
RECOVERS_WITHIN = 90.0
# Minutes from which on a storm is long: it is worth that its store compiles for the long run, and that all views are rebuilt.
LONG = 10.0
# How long it may go on when all is planted, until enough is acknowledged.
MORE_WITHIN = 300.0


def schedule(seed: int, count: int, seconds: float) -> list[tuple[float, str, int]]:
    """(when, which fault, the seed of its own chances) of each injection."""
    chance = random.Random(f"storm/{seed}")
    stops = round(count / 3)
    names = [name for number in range(stops) for name in [list(injections.OWNERS)[number % 2]]]
    others = []
    while len(others) < count - stops:
        # Each once before any twice.
        others += chance.sample(list(injections.OTHERS), len(injections.OTHERS))
    names += others[: count - stops]
    chance.shuffle(names)
    return [(seconds * number / count, name, chance.randrange(1 << 32)) for number, name in enumerate(names)]


def again(how: str, result: dict) -> bool:
    """Whether a command is to be repeated. One of which nothing was changed, too: an attempt before it may have been done."""
    return how == "unknown" and not result.get("absent") or "othing was changed" in str(result.get("error"))


class Steadfast(Person):
    """Goes on whatever happens, and repeats what lost its answer until it is settled."""

    acknowledged, repeated = 0, False

    def write(self, do: str, **args) -> bool:
        key = self.memory.key(self.session.name)
        if do in ("publish", "edit"):
            args["status"] = key + args["status"]
        how, result, first = self.session.do(do, key, **args)
        self.repeated = how == "unknown"
        while again(how, result) and not self.world.enough.wait(COMES_AGAIN):
            how, result, _ = self.session.do(do, key, first, **args)
        if how == "ok":
            Steadfast.acknowledged += 1
            self.memory.note(do, args, result, self.world)
            if self.repeated and do in ("publish", "boost"):
                # Once more, which must be told the same.
                self.session.do(do, key, first, **args)
        elif again(how, result):
            self.pending.append((do, key, first, args))
        elif how == "fail" and result.get("error") == "refused":
            # Nobody listens at all.
            self.world.enough.wait(0.2)
        return True

    def read(self, do: str, **args) -> bool:
        self.session.do(do, **args)
        return True

    def run(self) -> None:
        names, weights = zip(*(DEEDS | LOOKS).items())
        while not self.world.enough.is_set():
            deed = self.chance.choices(names, weights)[0]
            getattr(self, f"do_{deed}", lambda: self.about(deed))()


class Storm:
    """The cluster, its people, and what was planted so far."""

    def __init__(self, folder: pathlib.Path, recorder: Recorder, given: argparse.Namespace):
        self.recorder, self.given, self.proxy, self.node = recorder, given, None, None
        self.failpoints = folder / "failpoints"
        self.failpoints.mkdir()
        os.environ["FAILPOINT_DIR"] = str(self.failpoints)
        self.begun, self.races, self.forged = [], 0, False

        def between(store: list, bus: tuple) -> None:
            self.proxy = Remote(store, bus, given.seed)

        def begin(data: pathlib.Path) -> Replicas:
            # What a node has acknowledged must be there after its kill -9, whatever `up` has its nodes do by default.
            self.node = Replicas(data, store_nodes=given.store_nodes, commitlog="group", between=between)
            return self.node

        try:
            self.stage = Stage(folder, recorder, given.seed, begin=begin, people=PEOPLE)
            self.cluster = self.node.cluster
            places(self.stage)
            self.posting = Posting(self.stage)
        except BaseException:
            # Nobody has it yet who could end it.
            self.stop()
            raise

    def stop(self) -> int:
        """Ends the cluster and what stands before it; the worst exit code."""
        code = self.node.stop() if self.node else 0
        if self.proxy:
            self.proxy.stop()
        return code

    def settle_key(self, words: dict, account: int) -> None:
        """Repeats a command whose answer was lost, at another replica, until it is done."""
        self.posting.write_everywhere(RECOVERS_WITHIN)
        name = next(one for one in self.cluster.all_of("posting") if self.cluster.runs(one))
        self.posting.settle(name, [("PublishPost", words)], RECOVERS_WITHIN)

    def people(self) -> None:
        for one in self.stage.people:
            person = Steadfast(one, self.stage.world, self.stage.memory(one), f"{self.given.seed}/{one.name}")
            self.begun.append(person)
            person.start()

    def race(self) -> None:
        """Four more clients sign up under the same handles at once, if those before are done."""
        if any(isinstance(one, Racer) and one.is_alive() for one in self.begun):
            return
        self.races += 1
        handles = [f"race{self.races}x{number}" for number in range(3)]
        self.stage.world.handles += [(server, handle) for server in ("localhost", "second.localhost") for handle in handles]
        for index, one in enumerate(self.stage.racers):
            wanted = [handle.upper() if index % 2 else handle for handle in handles]
            racer = Racer(self.stage, one, self.stage.memory(one), wanted, f"{self.given.seed}/{self.races}/{index // 2}")
            self.begun.append(racer)
            racer.start()

    def inject(self, number: int, name: str, seed: int) -> None:
        kind, plant = injections.KINDS[name]
        self.recorder.write("fault", kind=kind, name=name, number=number, seed=seed)
        since = time.monotonic()
        try:
            told = plant(self, random.Random(seed))
        except Lost as lost:
            print(f"{number:3} {kind} {name}: not injected: {lost}", flush=True)
            self.recorder.write("fault", kind="end", lost=str(lost))
            return
        lifted = time.monotonic()
        self.recorder.write("fault", kind="end")
        took = self.posting.write_everywhere(RECOVERS_WITHIN)
        self.recorder.write("recovered", number=number, took=round(took, 3))
        print(f"{number:3} {kind} {name}: {told}; {lifted - since:.1f} s, every shard takes writes {took:.1f} s later; "
              f"{Steadfast.acknowledged} acknowledged", flush=True)

    def run(self, plan: list[tuple[float, str, int]]) -> None:
        """Everything planned, and what lost its answer meanwhile."""
        self.people()
        began = time.monotonic()
        try:
            for number, (when, name, seed) in enumerate(plan, 1):
                self.race()
                threading.Event().wait(max(0.0, began + when - time.monotonic()))
                self.inject(number, name, seed)
            threading.Event().wait(max(0.0, began + self.given.minutes * 60 - time.monotonic()))
            # A slow machine does as much as a fast one, if it comes to that at all.
            ends = time.monotonic() + MORE_WITHIN
            while Steadfast.acknowledged < 1.1 * self.given.least and time.monotonic() < ends:
                threading.Event().wait(0.5)
        finally:
            self.stage.world.enough.set()
            for one in self.begun:
                one.join()
        gone = [name for name in self.cluster._names() if not self.cluster.runs(name)]
        assert not gone, f"ended by themselves: {gone}"
        count, refused = self.stage.repeat(self.begun)
        assert not refused, f"repeats were refused: {refused[:3]}"
        self.recorder.write("settled", repeats=count)
        once_more(self.stage)


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--store-nodes", type=int, default=1, choices=[1, 3])
    flags.add_argument("--minutes", type=float, default=10.0)
    flags.add_argument("--injections", type=int, default=60)
    flags.add_argument("--seed", type=int, default=1)
    flags.add_argument("--least", type=int, default=LEAST, help="acknowledged writes under which the run is invalid (%(default)s)")
    flags.add_argument("--only", action="append", metavar="NAME", help="these faults alone, in turn; may be given several times")
    flags.add_argument("--history", type=pathlib.Path, help="where the recorded history is kept; thrown away if not given")
    flags.add_argument("--print-schedule", action="store_true", help="print the schedule, and do nothing")
    flags.add_argument("--judge", type=pathlib.Path, metavar="FILE", help="judge the kept history of such a run, and do nothing else")
    given = flags.parse_args()
    if given.judge:
        return judge(given.judge, given)
    plan = schedule(given.seed, given.injections, given.minutes * 60)
    if given.only:
        plan = [(when, given.only[number % len(given.only)], seed) for number, (when, _, seed) in enumerate(plan)]
    for number, (when, name, seed) in enumerate(plan, 1):
        print(f"{number:3} {when:6.1f} s {injections.KINDS[name][0]} {name} ({seed})")
    if given.print_schedule:
        return
    if given.minutes >= LONG:
        # Store nodes that live so long gain from compiling for the long run, though they start later.
        os.environ.setdefault("P92_JAVA_OPTIONS", "-XX:+UseSerialGC")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        path = given.history or folder / "history.jsonl"
        recorder, storm = Recorder(path), None
        try:
            storm = Storm(folder, recorder, given)
            storm.run(plan)
            storm.stage.settle()
            # Whether what was forged was believed is seen nowhere else.
            if given.minutes >= LONG or storm.forged:
                recorder.write("rebuilt", views=len(storm.stage.views), rows=storm.stage.rebuild_all(REBUILT_AT_ONCE))
        except BaseException:
            if storm and storm.node:
                print(storm.node.last_words())
            raise
        finally:
            recorder.close()
            code = storm.stop() if storm else 0
        judge(path, given)
        assert code == 0, f"a stop exited with {code}"


def judge(path: pathlib.Path, given: argparse.Namespace) -> None:
    """Prints what came of it, by the history alone, and fails if anything is broken or too little was done."""
    history = load(str(path))
    seen = {one["is"] for one in history.lines}
    lacking = {"settled", "quiet", "row"} - seen
    lacking |= {"rebuilt"} - seen if given.minutes >= LONG or "forged" in seen else set()
    assert not lacking, f"the run did not come to its end: it has no {', '.join(sorted(lacking))}"
    found = invariants.check(history)
    planted, failed = faults(history)
    kinds = collections.Counter(one["kind"] for one in planted)
    acked, line = promised(history, found, len(planted), " ".join(f"{kind}x{count}" for kind, count in sorted(kinds.items())),
                           given.seed)
    print(line)
    invokes = [one for one in history.lines if one["is"] == "invoke"]
    share = sum(not one["key"] for one in invokes) / max(1, len(invokes))
    slowest = max((one for one in history.lines if one["is"] == "recovered"), key=lambda one: one["took"], default={})
    print(f"order violations {len(found['I3']) + len(found['I8'])}; reads {share:.0%} of {len(invokes)} operations, judged "
          f"{len(history.reads)}; repeated at the end {sum(one['repeats'] for one in history.lines if one['is'] == 'settled')}; "
          f"rows of logs {len(history.rows)}; slowest recovery {slowest.get('took')} s after fault {slowest.get('number')}")
    for one in (one for one in history.lines if one["is"] == "rebuilt"):
        print(f"{one['views']} views rebuilt and equal to the live ones, {one['rows']} rows compared")
    past, believed = owners(history), forged(history)
    for problem in [*past[:10], *believed[:10], *failed]:
        print(f"    {problem}")
    for name, problems in found.items():
        for problem in problems[:5]:
            print(f"{name} is broken ({len(problems)}): {problem}")
    assert not any(found.values()) and not past and not believed, "the promise is broken"
    history_test.plant_all(history)
    assert len(planted) >= 0.9 * given.injections and acked >= given.least, "too little was done to mean anything"
    assert share >= 0.3, f"only {share:.0%} were reads"


def faults(history: History) -> tuple[list[dict], list[str]]:
    """Faults that were planted, and what is said of those that could not be."""
    planted, failed, last = [], [], None
    for line in (line for line in history.lines if line["is"] == "fault"):
        if line["kind"] != "end":
            last = line
        elif "lost" in line:
            failed.append(f"{last['kind']} {last['name']}: {line['lost']}")
        else:
            planted.append(last)
    return planted, failed


def owners(history: History) -> list[str]:
    """Prints what owners that were stopped have answered; what of it came from the past, or landed too late."""
    stops, asked = [line for line in history.lines if line["is"] == "owner"], collections.Counter()
    for stop in stops:
        asked.update(stop["asked"])
    withheld = {stop["group"] for stop in stops if stop["group"]}
    landed = [f"{row['service']}/{row['shard']}: the withheld group {group(row)} landed" for row in history.rows if group(row) in withheld]
    past = [one for stop in stops for one in stop["past"]]
    print(f"owners stopped {len(stops)}, each of which had an append refused; appends held {len(withheld)}, landed "
          f"afterwards {len(landed)}; asked of old owners {dict(asked)}: {sum(stop['right'] for stop in stops)} answers of "
          f"the present, {sum(stop['again'] for stop in stops)} to come again, {len(past)} of the past")
    return past + landed


def forged(history: History) -> list[str]:
    """Prints how often groups that stand in no log were said on the bus; what was found that nobody may do about them."""
    told, met = [line for line in history.lines if line["is"] == "forged"], collections.Counter()
    for one in told:
        met.update(one["met"])
    kinds = {"deaf": "not dropped as unproven", "behind": "not passed", "aside": "put aside", "away": "given back", "distrusted": "not answered from memory"}
    found = [f"{words}: {what}" for one in told for kind, words in kinds.items() for what in one[kind]]
    if told:
        print(f"groups that stand in no log, in the place of the next one: {dict(met)}; believed {len(found)}")
    return found


def group(row: dict) -> str:
    """A row's group as the store writes it."""
    import base64

    return base64.b64decode(row["group"]).hex()


if __name__ == "__main__":
    main()
