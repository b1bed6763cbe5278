"""What stands in no log, said on the bus: noise, and groups in the place where the next one is expected.

It hears every group that goes over the bus, each as the log's row has it, and says a changed one right behind it, which
begins at the place that comes next: with a payload that nobody can read, of a version that nobody knows, or with a foreign
event that everybody can read. It may publish like a process of the installation and has none of its keys, so it can prove
nothing: every process that listens must have heard all of it and dropped it as unproven, which is counted. So no
reader may stop before one, nothing may be put aside, no slot given back, and every home must be answered from memory again.
What was found is told and not judged; whether the foreign events were believed is seen where views are compared with
their rebuilds. What readers do about such events where they stand in a log is seen elsewhere (`eventlog/tests/log`).
"""

import collections
import importlib
import threading
import time

import grpc
from bus import readers_follow
from nats_client import Nats
from probes import Lost, Posting

# Of each service so many of each kind must have come in their place, and within how many seconds.
EACH, WITHIN = {"posting": 3, "identity": 2}, 60.0
KINDS = ("unreadable", "newer", "foreign")
# Events that readers of memory and of notifications read: a changed one of another type would change nothing.
READ = {
    "posting": ("PostPublished", "PostEdited", "PostDeleted", "PostBoosted"),
    "identity": ("FollowStarted", "FollowEnded", "BlockStarted", "BlockEnded"),
}
SHARDS = 16
NOBODY_KNOWS = 99
# No message: a tag of a wire type that there is none of.
UNREADABLE = b"\xff" * 8
# Who cannot read what comes next gives the slot back at once, and says so in its member row for two seconds.
LOOKS_EVERY, LOOKS_FOR = 0.5, 3.0
# What was said and proves nothing, by whom it was heard, and within how many seconds.
UNPROVEN, HEARD_WITHIN = "p92_eventlog_bus_unproven_total", 10.0
# Until then readers must have passed what stood in their logs, and homes be answered from memory.
FOLLOW_WITHIN, REMEMBERED_WITHIN = 60.0, 20.0


class Away(threading.Thread):
    """Looks again and again which slots members say that they have given back."""

    def __init__(self, posting: Posting):
        super().__init__(daemon=True)
        self.posting, self.found, self.looks, self.enough = posting, set(), 0, threading.Event()
        self.row = importlib.import_module("p92.event.v1.rows_pb2").MemberRow

    def run(self) -> None:
        names, operator = self.posting.cluster.all_of("posting"), self.posting.operator
        while not self.enough.wait(LOOKS_EVERY):
            request = operator.ScanTableRequest(name="eventlog_members", page_size=1000)
            try:
                page = self.posting.ask(names[self.looks % len(names)], "operator.v1.OperatorService", "ScanTable", request,
                                        operator.ScanTableResponse, 5.0).result()
            except grpc.RpcError:
                continue
            self.looks += 1
            for row in page.rows:
                member = self.row.FromString(row.value)
                self.found |= {f"{slot.service}/{slot.shard} by {member.address}" for slot in member.away}

    def end(self) -> list[str]:
        self.enough.set()
        self.join()
        if self.looks < 3:
            raise Lost("nobody told the rows of members")
        return sorted(self.found)


class Forger:
    """Says what it says, and finds out what came of it."""

    def __init__(self, storm, chance):
        self.storm, self.posting, self.chance = storm, storm.posting, chance
        # Compiled with the rest of the contract.
        self.event, self.posts, self.accounts, self.timelines, self.resources = (
            importlib.import_module(f"p92.{name}_pb2") for name in (
                "event.v1.event", "posting.v1.events", "identity.v1.events", "timelines.v1.service", "timelines.v1.resources"))
        # Where each log stands by what was heard, and what was said in each that was not heard back yet.
        self.at: dict[str, int] = {}
        self.said: dict[str, tuple[str, bytes]] = {}
        self.met: collections.Counter = collections.Counter()
        self.published = 0

    def run(self) -> dict:
        """What was said in its place, and what was found."""
        # They read the logs of both services, all shards of them.
        readers = self.posting.cluster.all_of("timelines")
        dropped = {name: self.storm.node.measured(UNPROVEN, [name]) for name in readers}
        away, nats = Away(self.posting), Nats(self.storm.cluster.describe()["bus"]["address"])
        away.start()
        try:
            self._noise(nats)
            nats.hear(*(f"p92.v1.{service}.*" for service in EACH))
            for subject, body in nats.heard(WITHIN):
                self._heard(nats, subject, body)
                if not any(self._lacking(service) for service in EACH):
                    break
        finally:
            nats.close()
            threading.Event().wait(LOOKS_FOR)
            given_back = away.end()
        deaf, behind = self._deaf(dropped), []
        try:
            readers_follow(self.storm.stage, FOLLOW_WITHIN, time.monotonic())
        except AssertionError as problem:
            behind.append(str(problem))
        return {"met": dict(self.met), "published": self.published, "deaf": deaf, "behind": behind, "aside": self._aside(), "away": given_back,
                "distrusted": self._distrusted()}

    def lacking(self) -> list[str]:
        """Of which kinds too few came in their place."""
        return [f"{service} {kind}" for service in EACH for kind in self._lacking(service)]

    def _lacking(self, service: str) -> list[str]:
        return [kind for kind in KINDS if self.met[f"{service} {kind}"] < EACH[service]]

    def _noise(self, nats: Nats) -> None:
        """Messages that are no groups, or groups of nothing, or of a log that is far ahead, as far as can be said."""
        for service in EACH:
            for shard in range(SHARDS):
                far = self.event.EventGroup(service=service, shard=shard, group_id=self.chance.randbytes(16),
                                            events=[self.event.Event(event_id=1).SerializeToString()])
                said = [self.chance.randbytes(200), b""]
                # A field 15 that nobody knows, as a newer version would send.
                said.append(b"\x7a\x03new")
                for first in (1 << 40, (1 << 64) - 1):
                    far.first_seq = first
                    said.append(far.SerializeToString())
                for body in said:
                    self._say(nats, f"p92.v1.{service}.{shard}", body)

    def _say(self, nats: Nats, subject: str, body: bytes) -> None:
        nats.publish(subject, body)
        self.published += 1

    def _deaf(self, before: dict[str, int]) -> list[str]:
        """Who has not dropped all of it as unproven, and how much he has."""
        ends = time.monotonic() + HEARD_WITHIN
        while True:
            dropped = {name: self.storm.node.measured(UNPROVEN, [name]) - count for name, count in before.items()}
            few = [f"{name}: {count} of {self.published}" for name, count in dropped.items() if count < self.published]
            if not few or time.monotonic() > ends:
                return few
            threading.Event().wait(0.2)

    def _heard(self, nats: Nats, subject: str, body: bytes) -> None:
        """What was said comes back, or a group is new: then one is said behind it, if that is still lacking."""
        kind, own = self.said.get(subject, ("", b""))
        group = self.event.EventGroup.FromString(body)
        service = group.service
        if kind and body == own:
            del self.said[subject]
            # If the next group came before it, it was in nobody's place.
            self.met[f"{service} {kind}"] += self.at[subject] + 1 == group.first_seq
            return
        last = group.first_seq + len(group.events) - 1
        if last <= self.at.get(subject, 0):
            return
        self.at[subject] = last
        open_now = collections.Counter(f"{one.split('.')[2]} {how}" for one, (how, _) in self.said.items())
        kinds = [kind for kind in self._lacking(service)
                 if self.met[f"{service} {kind}"] + open_now[f"{service} {kind}"] < EACH[service]]
        events = [self.event.Event.FromString(event) for event in group.events]
        read = [number for number, event in enumerate(events) if event.type.rsplit(".", 1)[-1] in READ[service]]
        if kinds and read and subject not in self.said:
            self.said[subject] = (kinds[0], self._forge(kinds[0], group, read[0], events[read[0]]))
            self._say(nats, subject, self.said[subject][1])

    def _forge(self, kind: str, group, number: int, event) -> bytes:
        """The group as it would stand next if it were true."""
        group.first_seq += len(group.events)
        if kind == "unreadable":
            event.payload = UNREADABLE
        elif kind == "newer":
            event.schema_version = NOBODY_KNOWS
        else:
            self._foreign(group.service, event)
        group.events[number] = event.SerializeToString()
        return group.SerializeToString()

    def _foreign(self, service: str, event) -> None:
        """Makes it one by which somebody would be told something and homes would change, if it were believed."""
        one, other = self.chance.sample(sorted(self.posting.accounts.values()), 2)
        here, made = self.posting.server, event.event_id + 4
        if service == "posting":
            # Public, so that it would stand in a list of everybody's posts as well.
            told = self.posts.PostPublished(post_id=made, author_id=one, author_home_id=here, visibility=1, conversation_id=made,
                                            mentioned_ids=[other], published_ms=event.time_ms, language="en")
            event.stream = f"post/{made}"
        else:
            told = self.accounts.FollowStarted(follow_id=made, follower_id=one, followed_id=other, follower_server_id=here,
                                               followed_server_id=here)
        event.type, event.payload = told.DESCRIPTOR.full_name, told.SerializeToString()
        event.event_id, event.schema_version, event.version = event.event_id + 2, 1, 1

    def _aside(self) -> list[str]:
        """What readers have put aside, whatever was decided about it since."""
        operator = self.posting.operator
        request = operator.ListQuarantineRequest(with_dropped=True)
        told = self.posting.ask(self.posting.cluster.all_of("posting")[0], "operator.v1.OperatorService", "ListQuarantine",
                                request, operator.ListQuarantineResponse).result()
        return [f"{one.reader}, {one.position.service}/{one.position.shard} {one.position.seq}: {one.problem}" for one in told.events]

    def _distrusted(self) -> list[str]:
        """Whose homes are not answered from memory, by the shard of the slot."""
        left, ends = dict(self.posting.accounts), time.monotonic() + REMEMBERED_WITHIN
        name, memory, problems = self.posting.cluster.all_of("timelines")[0], self.resources.TIMELINE_SOURCE_MEMORY, {}
        while left and time.monotonic() < ends:
            calls = {}
            for shard, account in left.items():
                options = self.posting.call.ReadOptions(viewer_id=account, server_id=self.posting.server)
                request = self.timelines.ListHomeRequest(options=options, source=memory)
                calls[shard] = self.posting.ask(name, "timelines.v1.TimelineService", "ListHome", request,
                                                self.timelines.ListHomeResponse, 10.0)
            for shard, call in calls.items():
                try:
                    problems[shard] = "" if call.result().source == memory else "it was merged"
                except grpc.RpcError as error:
                    problems[shard] = f"{error.code().name}: {error.details()}"
            left = {shard: account for shard, account in left.items() if problems[shard]}
        return [f"the home of {account}, timelines/{shard}: {problems[shard]}" for shard, account in left.items()]
