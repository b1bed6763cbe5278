"""The command line of a cluster on this machine: reads flags, tells what came of it, decides nothing."""

import argparse
import json
import pathlib
import sys
import time

from cassandra import Failed
from cluster import ASKS, DEFAULT, Cluster, Progress, Trouble
from nats import Trouble as BusTrouble

ONE = {
    "start": "start one process and wait until it serves", "stop": "end one process in order",
    "restart": "end one process in order, and start it again", "kill": "end one process as a crash would",
    "pause": "stop one process where it stands", "resume": "let a paused process go on",
}


def replicas_of(word):
    """A role and how many of it, as `--of` takes them."""
    role, _, count = word.partition("=")
    if role not in ASKS or not count.isdecimal() or int(count) < 1:
        raise argparse.ArgumentTypeError(f"{word!r} is not ROLE=N: roles are {', '.join(ASKS)}, and N is at least 1")
    return role, int(count)


def arguments(words):
    parser = argparse.ArgumentParser(prog="deploy/local/cluster.py", description="A cluster of P92 on this machine, without containers.")
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("up", help="start what is missing, and wait until everything serves")
    up.add_argument("--replicas", type=int, help="processes of each service, 2 if not said; there are two gateways")
    up.add_argument("--of", type=replicas_of, action="append", default=[], metavar="ROLE=N",
                    help="another number of this role, gateway included; may be repeated, and may grow while it runs")
    up.add_argument("--store-nodes", type=int, choices=[1, 3], help="nodes of Cassandra, 1 if not said; 1.5 GB of memory each")
    up.add_argument("--commitlog", choices=["periodic", "batch", "group"],
                    help="when Cassandra syncs: before the answers of 5 ms together (group, if not said), before each answer (batch), or "
                         "every ten seconds (periodic), which forgets acknowledged writes when a node is killed")
    up.add_argument("--url", help="how people reach the first server; that of gateway-1 if not said, and for ever as at first")
    up.add_argument("--binary", type=pathlib.Path, help="the p92 to run; built with cargo if not given")
    up.add_argument("--release", action="store_true", help="build with optimisations")
    up.add_argument("--settings", type=pathlib.Path, help="a TOML file with further settings, for every process of P92")
    up.add_argument("--wait", type=int, default=300, metavar="SECONDS", help="how long until everything must serve (%(default)s)")
    down = actions.add_parser("down", help="end what was started, and nothing else")
    down.add_argument("--wipe", action="store_true", help="remove all data, keys and logs as well")
    status = actions.add_parser("status", help="which processes run, and where")
    wipe = actions.add_parser("wipe-bus", help="kill NATS and remove its data; `start nats` starts an empty one")
    several = [up, down, status, wipe]
    for action, what in ONE.items():
        one = actions.add_parser(action, help=what)
        one.add_argument("name", help="timelines-1, gateway-2, nats, store-1; `status` shows all")
        several.append(one)
    for action in several:
        action.add_argument("--dir", type=pathlib.Path, default=DEFAULT, help="everything that is written (%(default)s)")
        action.add_argument("--json", action="store_true", help="one line of JSON, for machines")
    given = parser.parse_args(words)
    if given.action == "up" and given.replicas is not None and given.replicas < 1:
        parser.error("--replicas must be at least 1")
    return given


def table(told):
    """What runs where, for people."""
    rows = [("PROCESS", "ID", "PUBLIC OR INTERNAL", "GRPC", "OPS")]
    for name, one in told["processes"].items():
        rows.append((name, one["pid"] or "-", one.get("http") or one.get("internal", "-"), one.get("grpc", ""),
                     one.get("ops", "-")))
    for one in [*told["store"], {"name": "nats"} | told["bus"]]:
        rows.append((one["name"], one["pid"] or "-", one["address"], "", ""))
    widths = [max(len(str(row[column])) for row in rows) for column in range(5)]
    return "\n".join("  " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def greet(told, took):
    """Where it is and what to do next, for people."""
    identity, flag = told["processes"]["identity-1"]["internal"], f" --dir {told['dir']}" if told["dir"] != str(DEFAULT) else ""
    print(f"P92 is up at {told['url']} after {took:.0f} s\n{table(told)}\n"
          f"  sign up there, or make the first account:\n"
          f"  {told['binary']} account create NAME --email YOU@EXAMPLE.ORG --password '…' --role owner --endpoint {identity}\n"
          f"  how readers follow: {told['binary']} lag --endpoint {identity}\n"
          f"  logs of all processes: {told['dir']}/logs\n"
          f"  deploy/local/down{flag} ends it; the data stay, unless --wipe is said")


def run(given):
    cluster = Cluster(given.dir, Progress(quiet=given.action == "status"))
    since = time.monotonic()
    if given.action == "up":
        cluster.up(given.binary, given.release, given.replicas, given.store_nodes, given.commitlog, given.url, given.settings,
                   given.wait, of=dict(given.of))
        told, took = cluster.describe(), time.monotonic() - since
        if given.json:
            print(json.dumps({"event": "ready", "took": round(took, 1)} | told), flush=True)
        else:
            greet(told, took)
    elif given.action == "down":
        was = cluster.state is not None
        cluster.down(given.wipe)
        if given.json:
            print(json.dumps({"event": "ended", "dir": str(cluster.dir), "was": was}), flush=True)
        elif not was:
            print(f"nothing was started in {cluster.dir}")
    elif cluster.state is None:
        raise Trouble(f"nothing was started in {cluster.dir}\n  what to do: deploy/local/up, or name its directory with --dir")
    elif given.action == "status":
        told = cluster.describe()
        print(json.dumps(told) if given.json else f"{told['url']} in {told['dir']}\n{table(told)}")
    elif given.action == "wipe-bus":
        cluster.wipe_bus()
    else:
        getattr(cluster, given.action)(given.name)
    return 0


def main(words=None):
    try:
        return run(arguments(words))
    except (Trouble, BusTrouble, Failed, OSError) as trouble:
        print(f"\n{trouble}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\ninterrupted; what was begun runs on: `up` again goes on, `down` ends it", file=sys.stderr)
    return 1
