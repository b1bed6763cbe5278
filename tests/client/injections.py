"""The faults of promises.md that can be planted from outside of a cluster, each by its number there.

An injection is a function of `Storm` and of a generator of random numbers; it returns when the fault is lifted, with a word
about what it did. It judges nothing. Whatever cannot be planted raises `Lost`, and does not count.
"""

import threading

from forged import Forger
from nats_client import Nats
from probes import Failpoint, Lost, Stop, Withheld, until
from replicas import SERVICES

# Seconds that an owner stands still: longer than its ownership lasts.
STANDS = 8.0


def stands(seconds: float) -> None:
    threading.Event().wait(seconds)


def some(storm, chance) -> str:
    """A replica of a service."""
    return chance.choice([name for role in SERVICES for name in storm.cluster.all_of(role)])


def writer(storm, chance) -> str:
    """A replica of the services that people's commands go to."""
    return chance.choice([name for role in ("identity", "posting") for name in storm.cluster.all_of(role)])


def kill(storm, chance) -> str:
    name = chance.choice([some(storm, chance), chance.choice(storm.cluster.all_of("gateway"))])
    storm.cluster.kill(name)
    stands(chance.uniform(0.0, 3.0))
    storm.cluster.start(name)
    return name


def kill_all(storm, chance) -> str:
    names = storm.cluster._names()
    for name in names:
        storm.cluster.kill(name)
    storm.cluster.start_all(names)
    return f"{len(names)} processes"


def at_failpoint(place: str):
    """kill -9 of an owner that has come to a place between two steps of a write."""
    def run(storm, chance) -> str:
        shard = chance.choice(sorted(storm.posting.accounts))
        account, way = storm.posting.accounts[shard], Failpoint(storm.posting, storm.failpoints)
        name, _ = storm.posting.owner(shard)
        way.hold(name, shard, place)
        try:
            words = storm.posting.words(account, place)
            storm.posting.post(name, "PublishPost", **words)
            until(f"a group of posting/{shard} at {place}", 20.0, way.held)
            storm.cluster.kill(name)
        finally:
            way.forget()
        storm.settle_key(words, account)
        storm.cluster.start(name)
        return f"posting/{shard} of {name}"
    return run


def at_checkpoint(storm, chance) -> str:
    """kill -9 of a leased reader whose rows are written and whose checkpoint is not."""
    name = chance.choice([one for role in ("posting", "timelines") for one in storm.cluster.all_of(role)])
    storm.proxy.do("hold", pid=storm.cluster.pid(name), what="checkpoint")
    try:
        until(f"a checkpoint of {name}", 20.0, lambda: storm.proxy.do("held"))
        storm.cluster.kill(name)
    finally:
        storm.proxy.do("drop")
    storm.cluster.start(name)
    return name


def stop_owner(way):
    """An owner stands between its decision and its append, until another has taken over; then it is asked."""
    def run(storm, chance) -> str:
        shard = chance.choice(sorted(storm.posting.accounts))
        told = Stop(storm.posting, storm.posting.accounts[shard], way(storm)).run()
        storm.recorder.write("owner", way=way.__name__, **told)
        return (f"posting/{shard} of {told['old']}, which stood {told['stood']} s: {told['right']} answers of the present, "
                f"{told['again']} to come again, {len(told['past'])} of the past")
    return run


def decided(storm):
    return Failpoint(storm.posting, storm.failpoints)


def withheld(storm):
    return Withheld(storm.posting, storm.proxy)


def pause(storm, chance) -> str:
    name, seconds = some(storm, chance), chance.uniform(1.0, 15.0)
    storm.cluster.pause(name)
    try:
        stands(seconds)
    finally:
        storm.cluster.resume(name)
    return f"{name} for {seconds:.1f} s"


def hindered(how: str, side: str, everybody: bool = False):
    """Something is wrong with the way to the store or the bus, of one process or of all."""
    def run(storm, chance) -> str:
        name, seconds = writer(storm, chance), chance.uniform(3.0, 9.0)
        pid = None if everybody else storm.cluster.pid(name)
        met = storm.proxy.do("hinder", how=how, side=side, pid=pid)
        try:
            stands(seconds)
        finally:
            storm.proxy.do("free")
        if not met:
            raise Lost(f"{name} has no connection to the {side}")
        return f"{'all' if everybody else name} for {seconds:.1f} s, {met} connections"
    return run


def shuffled(storm, chance) -> str:
    before = storm.proxy.do("counts")
    hindered("shuffle", "bus", True)(storm, chance)
    told = {name: count - before[name] for name, count in storm.proxy.do("counts").items()}
    if not told["doubled"] or not told["reordered"]:
        raise Lost("no message was met")
    return f"{told['doubled']} messages doubled, {told['reordered']} out of order"


def bus_killed(storm, chance) -> str:
    storm.cluster.kill("nats")
    stands(chance.uniform(0.0, 4.0))
    storm.cluster.start("nats")
    return "restarted"


def bus_wiped(storm, chance) -> str:
    storm.cluster.wipe_bus()
    stands(chance.uniform(0.0, 4.0))
    storm.cluster.start("nats")
    return "its directory removed"


def bus_paused(storm, chance) -> str:
    storm.cluster.pause("nats")
    try:
        stands(STANDS)
    finally:
        storm.cluster.resume("nats")
    return f"for {STANDS} s"


def with_bus(deed):
    def run(storm, chance) -> str:
        nats = Nats(storm.cluster.describe()["bus"]["address"])
        try:
            return deed(nats, chance)
        finally:
            nats.close()
    return run


@with_bus
def purged(nats, chance) -> str:
    return f"{sum(nats.ask(f'STREAM.PURGE.{one}')['purged'] for one in nats.streams())} messages"


@with_bus
def deleted(nats, chance) -> str:
    names = nats.streams()
    for one in names:
        nats.ask(f"STREAM.DELETE.{one}")
    return f"{len(names)} streams"


@with_bus
def consumers_deleted(nats, chance) -> str:
    count = 0
    for stream in nats.streams():
        for consumer in nats.ask(f"CONSUMER.NAMES.{stream}").get("consumers") or []:
            nats.ask(f"CONSUMER.DELETE.{stream}.{consumer}")
            count += 1
    if not count:
        raise Lost("nobody listens to the bus")
    return f"{count} consumers"


def poisoned(storm, chance) -> str:
    """Noise, and groups that stand in no log in the place of the next ones."""
    storm.forged, forger = True, Forger(storm, chance)
    told = forger.run()
    storm.recorder.write("forged", **told)
    if lacking := forger.lacking():
        raise Lost(f"too few groups came before the next of their log: {', '.join(lacking)}")
    return f"{sum(told['met'].values())} groups that stand in no log came in the place of the next"


def store_killed(storm, chance) -> str:
    name = chance.choice(storm.cluster._stores())
    storm.cluster.kill(name)
    stands(chance.uniform(0.0, 3.0))
    storm.cluster.start(name)
    return name


def store_restarted(storm, chance) -> str:
    name = chance.choice(storm.cluster._stores())
    storm.cluster.stop(name)
    storm.cluster.start(name)
    return name


def quorum_lost(storm, chance) -> str:
    names = storm.cluster._stores()
    names = chance.sample(names, len(names) // 2 + 1)
    for name in names:
        storm.cluster.pause(name)
    try:
        stands(STANDS)
    finally:
        for name in names:
            storm.cluster.resume(name)
    return f"{' and '.join(names)} paused for {STANDS} s"


def restarted(storm, chance) -> str:
    name = chance.choice(storm.cluster._names())
    code = storm.cluster.stop(name)
    storm.cluster.start(name)
    assert code == 0, f"{name} ended with {code}"
    return name


# What it is called: (number in promises.md, how it is planted).
OWNERS = {
    "stopped between decide and append": ("F06", stop_owner(decided)),
    "append held until the take-over": ("F06", stop_owner(withheld)),
}
OTHERS = {
    "kill -9 of one": ("F01", kill),
    "kill -9 of all": ("F02", kill_all),
    "kill between commit and publish": ("F03", at_failpoint("stored")),
    "kill between publish and answer": ("F04", at_failpoint("published")),
    "kill between view and checkpoint": ("F05", at_checkpoint),
    "pause": ("F06", pause),
    "no way to the bus": ("F08", hindered("stall", "bus")),
    "the bus refuses": ("F08", hindered("cut", "bus")),
    "no way to the store": ("F09", hindered("stall", "store")),
    "the store refuses": ("F09", hindered("cut", "store")),
    "200 ms to the store": ("F13", hindered("slow", "store", True)),
    "everybody's bus stalls": ("F13", hindered("stall", "bus", True)),
    "everybody is reset by the store": ("F13", hindered("cut", "store", True)),
    "bus kill -9": ("F15", bus_killed),
    "bus paused": ("F15", bus_paused),
    "streams purged": ("F16", purged),
    "streams deleted": ("F17", deleted),
    "bus wiped": ("F18", bus_wiped),
    "consumers deleted": ("F19", consumers_deleted),
    "store node kill -9": ("F22", store_killed),
    "store node restarted": ("F22", store_restarted),
    "quorum lost": ("F24", quorum_lost),
    "poison on the bus": ("F36", poisoned),
    "restart in order": ("F37", restarted),
    "messages doubled and reordered": ("F38", shuffled),
}
KINDS = OWNERS | OTHERS
