"""Commands of every type, generated, through the internal services of the running binary; then every view is rebuilt.

Which types there are is read from the contract: a new command without a recipe here fails the run by its name. The
commands go over the socket of the data directory, as the operator's do. Then each view is built again beside the live
one and compared row by row, once as it is, and once with one byte changed in one row of each.
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

import grpc
from contract import compiled
from recipes import RECIPES, World

from node import ROOT, Node, binary

PACKAGES = ("identity", "posting", "timelines")
# What begins so asks, and changes nothing. NoteOwnWrite tells a cache.
READS = ("Get", "List", "Batch", "Check", "Verify", "Resolve", "Search", "Watch", "Count", "NoteOwnWrite")
MORE = "[identity]\npassword_grant = true\n"


class Contract:
    """The internal services, compiled from their protos: which commands there are, and how to call them."""

    def __init__(self, folder: pathlib.Path):
        self.commands = {}
        for module in compiled(folder, *(f"{package}.v1.service" for package in PACKAGES)):
            for service in module.DESCRIPTOR.services_by_name.values():
                for method in service.methods:
                    if not method.name.startswith(READS) and method.name not in WITHIN:
                        self.commands[method.name] = (service.full_name, method, module)

    def caller(self, channel: grpc.Channel, name: str):
        from google.protobuf import message_factory

        service, method, _ = self.commands[name]
        request = message_factory.GetMessageClass(method.input_type)
        answer = message_factory.GetMessageClass(method.output_type)
        call = channel.unary_unary(f"/{service}/{name}", request.SerializeToString, answer.FromString)
        return request, call


class Run:
    """The generated commands: how many of each type were accepted or refused by a rule."""

    def __init__(self, contract: Contract, channel: grpc.Channel, world: World):
        self.calls = {name: contract.caller(channel, name) for name in contract.commands}
        self.world, self.lock = world, threading.Lock()
        self.accepted, self.refused = collections.Counter(), collections.Counter()
        self.reasons: dict[str, str] = {}

    def one(self, name: str, seed: str) -> None:
        from google.protobuf import json_format

        chance = random.Random(seed)
        with self.lock:
            made = RECIPES[name](self.world, chance)
        if made is None:
            return
        request, call = self.calls[name]
        try:
            answer = call(json_format.ParseDict(made, request()), timeout=60)
        except grpc.RpcError as error:
            code = error.code().name
            ours = code in ("INTERNAL", "UNKNOWN", "DATA_LOSS", "UNIMPLEMENTED")
            assert not ours, f"{name}: {code}: {error.details()}"
            self.refused[name] += 1
            self.reasons[name] = f"{code}: {error.details()}"
            return
        self.accepted[name] += 1
        with self.lock:
            self.world.learn(name, made, json_format.MessageToDict(answer))

    def all(self, commands: int, least: int, chance: random.Random) -> None:
        """As many as asked for, and of each type until enough were accepted."""
        names = sorted(self.calls)
        weights = [RECIPES[name].weight for name in names]
        bar = Progress(commands)
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            done = 0
            while done < commands:
                some = chance.choices(names, weights, k=min(400, commands - done))
                few = [name for name in names if self.accepted[name] < least]
                # Of what is behind, some in each round, so that they are spread over the whole run.
                some += [name for name in few for _ in range(4)]
                list(pool.map(lambda pair: self.one(*pair), [(name, f"{chance.random()}") for name in some]))
                done = sum(self.accepted.values()) + sum(self.refused.values())
                bar.at(done)
            for _ in range(100):
                few = [name for name in names if self.accepted[name] < least]
                if not few:
                    return
                some = [(name, f"{chance.random()}") for name in few for _ in range(8)]
                list(pool.map(lambda pair: self.one(*pair), some))
        lacking = {name: (self.accepted[name], self.reasons.get(name)) for name in few}
        raise AssertionError(f"fewer than {least} accepted: {lacking}")


class Progress:
    """How far it is, on a terminal."""

    def __init__(self, total: int):
        self.total, self.began = total, time.monotonic()

    def at(self, done: int) -> None:
        if sys.stderr.isatty():
            rate = done / max(0.001, time.monotonic() - self.began)
            print(f"\r{done}/{self.total} commands, {rate:.0f}/s ", end="", file=sys.stderr)

# Commands that services give each other when something ends: erasures and deletions of the run cause them, no caller does.
WITHIN = {"EndAll", "EndRelationship"}


def caught_up(node: Node) -> None:
    """Waits until every reader stands at the head of its log."""
    ends = time.monotonic() + 60
    while True:
        lags = json.loads(node.cli("lag", "--json")).get("lags", [])
        behind = [lag for lag in lags if int(lag.get("head", 0)) > int(lag.get("applied", 0))]
        if not behind:
            return
        assert time.monotonic() < ends, behind
        time.sleep(0.1)


def views(node: Node) -> list[str]:
    return [view["name"] for view in json.loads(node.cli("view", "list", "--json"))["views"]]


def verify(node: Node, name: str) -> tuple[bool, int]:
    """Rebuilds a view beside the live one; whether both were equal, and how many rows were compared."""
    command = [binary(), "view", "rebuild", name, "--verify", "--json", "--data", str(node.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    step = json.loads(done.stdout.strip().splitlines()[-1]) if done.stdout.strip() else {}
    assert step.get("done"), (name, done.stdout, done.stderr)
    return done.returncode == 0, int(step.get("compared", 0))


def equal(node: Node) -> int:
    total = 0
    for name in views(node):
        same, rows = verify(node, name)
        assert same, f"{name} is not what its log says"
        print(f"  {name}: {rows} rows compared, equal")
        total += rows
    return total


def flips(folder: pathlib.Path, data: pathlib.Path, names: list[str], seed: int) -> None:
    """One byte of one row of each view is changed in a copy; verifying finds each."""
    target = os.environ.get("CARGO_TARGET_DIR", ROOT / "target")
    # With the switches of `tests/run`, which has it then already: by itself its crates would be compiled anew for minutes.
    switches = ["--features", (ROOT / "tests" / "features").read_text(encoding="utf-8").strip()]
    subprocess.run(["cargo", "build", "--quiet", "--workspace", *switches, "--example", "flip"], cwd=ROOT, check=True)
    copy = folder / "flipped" / "data"
    copy.parent.mkdir()
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("*.sock"))
    shutil.copy(data.parent / "data.keys", copy.parent / "data.keys")
    flip = pathlib.Path(target).resolve() / "debug" / "examples" / "flip"
    subprocess.run([flip, copy, str(seed), *names], check=True, stdout=subprocess.DEVNULL)
    node = Node(copy, more=MORE)
    try:
        missed = [name for name in names if verify(node, name)[0]]
        assert not missed, f"a changed byte was not found in {missed}"
        again = [name for name in names if not verify(node, name)[0]]
        assert not again, f"{again} was not repaired by the rebuild"
    finally:
        node.stop()


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--commands", type=int, default=20_000, help="how many are generated")
    flags.add_argument("--least", type=int, default=50, help="how many of each type must be accepted")
    flags.add_argument("--seed", type=int, default=1)
    asked = flags.parse_args()
    chance = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "protos").mkdir()
        contract = Contract(folder / "protos")
        lacking = set(contract.commands) - set(RECIPES)
        assert not lacking, f"no recipe for {sorted(lacking)}"
        node = Node(folder / "data", more=MORE)
        try:
            channel = grpc.insecure_channel(f"unix:{node.data / 'p92.sock'}", [("grpc.default_authority", "localhost")])
            run = Run(contract, channel, World(contract, channel))
            began = time.monotonic()
            run.all(asked.commands, asked.least, chance)
            took = time.monotonic() - began
            caught_up(node)
            rows = equal(node)
            names = views(node)
            node.stop()
            flips(folder, node.data, names, asked.seed)
        except BaseException:
            print(f"seed {asked.seed}\n" + open(node.log.name, errors="replace").read()[-3000:])
            raise
        finally:
            node.process.kill()
    least = min(run.accepted.values())
    print(f"mixed: {sum(run.accepted.values())} commands accepted and {sum(run.refused.values())} refused by a rule in "
          f"{took:.0f} s, {len(run.accepted)} types, {least} of the rarest; {len(names)} views equal in {rows} rows; "
          f"a changed byte found in each; seed {asked.seed}")


if __name__ == "__main__":
    main()
