"""Owners of posting that are stopped in the midst of an append, and then asked at their own address as if nothing had been.

While an owner stands still another replica takes its shard over, and posts are edited, deleted and published there. Then
the old one gets, at once and straight: 20 reads of what was edited or deleted, 20 commands under keys that were used there
or before, and commands that the present rejects and the past would not, or the other way round. It goes on, and none of
its answers may come from the past. An answer that says to come again is none. It injects no other fault, and keeps what
it does apart from the people of the workload: its accounts are followed by nobody.
"""

import json
import os
import pathlib
import signal
import threading
import time

import grpc
from contract import compiled

PUBLIC = 1
# Seconds: a holder that hangs is taken for dead after 6, and then its shards are closed one by one.
TAKEN_WITHIN, ANSWERED_WITHIN, SETTLED_WITHIN = 40.0, 45.0, 60.0
# Answers that say to come again, and nothing else.
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
# What was changed binds every later read within this time.
BINDS = 1.0
REFUSED = "p92_eventlog_refused_appends_total"


class Lost(Exception):
    """An injection that could not be done; it counts as none."""


def until(what: str, seconds: float, met):
    """Waits for something; what it was."""
    ends = time.monotonic() + seconds
    while not (found := met()):
        if time.monotonic() > ends:
            raise Lost(f"{what} did not come within {seconds:.0f} s")
        threading.Event().wait(0.05)
    return found


class Posting:
    """The replicas of posting, each called at its own address, by accounts that nobody else uses."""

    def __init__(self, stage, shards: int = 12):
        self.stage, self.cluster = stage, stage.node.cluster
        folder = stage.folder / "contract"
        folder.mkdir()
        self.posts, self.operator, self.call = compiled(folder, "posting.v1.service", "operator.v1.operator", "event.v1.call")
        self.channels, self.count, self.accounts = {}, 0, {}
        server = None
        for number in range(3 * shards):
            if len(self.accounts) == shards:
                break
            name = f"probe{number}"
            told = json.loads(stage.node.cli("account", "create", name, "--email", f"{name}@example.org", "--password",
                                             "a long password", "--json", "--server", "localhost"))
            told = told.get("account", told)
            account = int(told["id"])
            server = server or int(told["serverId"])
            self.accounts.setdefault(account >> 11 & 1023, account)
        self.server = server

    def ask(self, name: str, service: str, method: str, request, answer, timeout: float = 30.0, wait: bool = True):
        """Begins a call of that replica; its future."""
        address = self.cluster.address(name, "internal")
        if address not in self.channels:
            self.channels[address] = grpc.insecure_channel(address, options=[("grpc.enable_retries", 0)])
        path = f"/p92.{service}/{method}"
        call = self.channels[address].unary_unary(path, request.SerializeToString, answer.FromString)
        return call.future(request, timeout=timeout, wait_for_ready=wait)

    def post(self, name: str, method: str, timeout: float = 30.0, **fields):
        request = getattr(self.posts, f"{method}Request")(**fields)
        return self.ask(name, "posting.v1.PostService", method, request, getattr(self.posts, f"{method}Response"), timeout)

    def settle(self, name: str, commands: list[tuple[str, dict]], seconds: float) -> list:
        """Has that replica do commands, all at once; whoever is told to come again does, with his key. Their answers."""
        answers, ends = [None] * len(commands), time.monotonic() + seconds
        while None in answers:
            calls = {number: self.post(name, method, **fields)
                     for number, (method, fields) in enumerate(commands) if answers[number] is None}
            for number, call in calls.items():
                try:
                    answers[number] = call.result()
                except grpc.RpcError as error:
                    if error.code() not in AGAIN or time.monotonic() > ends:
                        raise
            if None in answers:
                threading.Event().wait(0.2)
        return answers

    def context(self, account: int, key: str = ""):
        if not key:
            self.count += 1
            key = f"probe-{account}-{self.count}"
        return self.call.CommandContext(server_id=self.server, actor_id=account, idempotency_key=key)

    def words(self, account: int, text: str, key: str = "") -> dict:
        return {"context": self.context(account, key), "text": text, "visibility": PUBLIC, "language": "en"}

    def owners(self, name: str) -> dict[tuple[str, int], str]:
        """Who holds which slot, by the name of the process, as that replica reads it."""
        answer = self.ask(name, "operator.v1.OperatorService", "ListOwners", self.operator.ListOwnersRequest(),
                          self.operator.ListOwnersResponse, 10.0).result()
        at = {self.cluster.address(one, "internal"): one for one in self.cluster.state["ports"] if one[:7] != "gateway"}
        members = {one.id: at.get(one.address) for one in answer.members}
        return {(one.service, one.shard): members.get(one.member) for one in answer.owners}

    def owner(self, shard: int) -> tuple[str, str]:
        """(who owns posting's log of that shard, another replica of posting)."""
        names = self.cluster.all_of("posting")
        for name in names:
            try:
                found = self.owners(name).get(("posting", shard))
            except grpc.RpcError:
                continue
            if found in names:
                return found, next(one for one in names if one != found)
        raise Lost(f"nobody owns posting/{shard}")

    def write_everywhere(self, seconds: float) -> float:
        """Publishes in every shard, through each replica in turn, until all is acknowledged; how long that took."""
        since, names = time.monotonic(), self.cluster.all_of("posting")
        left = {shard: self.words(account, "still there") for shard, account in self.accounts.items()}
        turn = 0
        while left:
            turn += 1
            calls = {shard: self.post(names[(turn + shard) % len(names)], "PublishPost", 5.0, **words)
                     for shard, words in left.items()}
            for shard, call in calls.items():
                try:
                    call.result()
                    del left[shard]
                except grpc.RpcError as error:
                    why = f"{error.code().name}: {error.details()}"
            if left and time.monotonic() - since > seconds:
                raise AssertionError(f"after {seconds:.0f} s shards {sorted(left)} take no writes: {why}")
            if left:
                threading.Event().wait(0.05)
        return time.monotonic() - since

    def refused(self, name: str) -> int:
        return self.stage.node.measured(REFUSED, [name])


class Failpoint:
    """The next round that is decided for a shard waits before its append (`services/shared/eventlog/src/failpoint.rs`)."""

    def __init__(self, posting: Posting, folder: pathlib.Path):
        self.posting, self.folder = posting, folder

    def hold(self, name: str, shard: int, place: str = "decided") -> None:
        self.hold_file = self.folder / f"{self.posting.cluster.pid(name)}.{place}.posting.{shard}"
        self.held_file = self.hold_file.with_name(self.hold_file.name + ".held")
        self.hold_file.touch()

    def held(self):
        return self.held_file.exists()

    def settle(self) -> str:
        """Nothing has gone out, and nothing does while the process stands still."""
        return ""

    def forget(self) -> None:
        self.hold_file.unlink(missing_ok=True)
        self.held_file.unlink(missing_ok=True)


class Withheld:
    """The next append to a shard's log is taken out of the way to the store, and goes on when somebody else owns it."""

    def __init__(self, posting: Posting, proxy):
        self.posting, self.proxy = posting, proxy

    def hold(self, name: str, shard: int) -> None:
        self.proxy.do("hold", pid=self.posting.cluster.pid(name), what="append", service="posting", shard=shard)

    def held(self):
        return self.proxy.do("held")

    def settle(self) -> str:
        """It reaches the store now; the group that must not land."""
        group = self.proxy.do("held")["group"]
        self.proxy.do("release")
        until("the store's answer to what was held", 20.0, lambda: self.proxy.do("decided"))
        return group

    def forget(self) -> None:
        self.proxy.do("drop")


class Stop:
    """One stop of one owner, and what it answers afterwards."""

    def __init__(self, posting: Posting, account: int, way):
        self.posting, self.account, self.way = posting, account, way
        self.shard = account >> 11 & 1023
        self.old, self.new = posting.owner(self.shard)
        self.past: list[str] = []
        self.asked = {"reads": 0, "repeats": 0, "rejections": 0}
        self.right = self.again = 0

    def run(self) -> dict:
        """What happened; `past` is what was answered from the past."""
        posting, account = self.posting, self.account
        words = [posting.words(account, f"before {number}") for number in range(10)]
        before = [told.post_id for told in posting.settle(self.old, [("PublishPost", one) for one in words], SETTLED_WITHIN)]
        refused = posting.refused(self.old)
        self.way.hold(self.old, self.shard)
        pid, open_words = posting.cluster.pid(self.old), posting.words(account, "open")
        try:
            pending = posting.post(self.old, "PublishPost", 120.0, **open_words)
            until(f"an append of posting/{self.shard}", 20.0, self.way.held)
            os.kill(pid, signal.SIGSTOP)
            stood = time.monotonic()
            try:
                since = self._change(before)
                group = self.way.settle()
                calls = self._ask(words, before, since)
                # The kernel takes them for the process that stands.
                threading.Event().wait(0.3)
                stood = time.monotonic() - stood
            finally:
                self.way.forget()
                os.kill(pid, signal.SIGCONT)
            self._judge(calls)
            until(f"a refused append of {self.old}", 20.0, lambda: posting.refused(self.old) > refused)
        finally:
            self.way.forget()
        self._once(pending, open_words)
        return {"shard": self.shard, "old": self.old, "stood": round(stood, 1), "group": group, "past": self.past,
                "asked": self.asked, "right": self.right, "again": self.again}

    def _change(self, before: list[int]) -> list:
        """What the new owner does, when it is one: the receipts of edits and deletes, and what was published."""
        posting, account = self.posting, self.account
        until(f"a take-over by {self.new}", TAKEN_WITHIN, lambda: self._owns())
        changes = []
        for number, post in enumerate(before):
            fields = {"context": posting.context(account), "post_id": post}
            edits = number < 5
            changes.append(("EditPost", fields | {"text": "anew", "language": "en"}) if edits else ("DeletePost", fields))
        self.fresh_words = [posting.words(account, f"since {number}") for number in range(10)]
        fresh = [("PublishPost", one) for one in self.fresh_words]
        told = posting.settle(self.new, changes + fresh, SETTLED_WITHIN)
        self.fresh = [one.post_id for one in told[len(changes):]]
        threading.Event().wait(BINDS)
        return [list(one.receipt.positions) for one in told[: len(changes)]]

    def _owns(self) -> bool:
        try:
            if self.posting.owners(self.new).get(("posting", self.shard)) != self.new:
                return False
            self.posting.post(self.new, "PublishPost", 5.0, **self.posting.words(self.account, "taken over")).result()
        except grpc.RpcError:
            return False
        return True

    def _ask(self, words: list[dict], before: list[int], receipts: list) -> list[tuple]:
        """(kind, what would be right, the call) of everything that the old owner is asked."""
        calls = []
        for number, post in enumerate(before):
            for fresh in (True, False):
                options = self.posting.call.ReadOptions(at_least=receipts[number] if fresh else [], viewer_id=self.account,
                                                        server_id=self.posting.server)
                call = self.posting.post(self.old, "GetPost", options=options, post_id=post)
                calls.append(("reads", "anew" if number < 5 else None, call))
        for one, post in [*zip(words, before), *zip(self.fresh_words, self.fresh)]:
            calls.append(("repeats", post, self.posting.post(self.old, "PublishPost", **one)))
        for post in before[5:] * 2:
            edit = {"context": self.posting.context(self.account), "post_id": post, "text": "risen", "language": "en"}
            calls.append(("rejections", False, self.posting.post(self.old, "EditPost", **edit)))
            reply = self.posting.words(self.account, "to nothing") | {"in_reply_to_id": post}
            calls.append(("rejections", False, self.posting.post(self.old, "PublishPost", **reply)))
        for post in self.fresh:
            edit = {"context": self.posting.context(self.account), "post_id": post, "text": "known", "language": "en"}
            calls.append(("accepted", True, self.posting.post(self.old, "EditPost", **edit)))
        return calls

    def _judge(self, calls: list[tuple]) -> None:
        ends = time.monotonic() + ANSWERED_WITHIN
        for kind, wanted, call in calls:
            self.asked[kind] = self.asked.get(kind, 0) + 1
            try:
                answer, code = call.result(timeout=max(0.1, ends - time.monotonic())), None
            except grpc.FutureTimeoutError:
                code = grpc.StatusCode.DEADLINE_EXCEEDED
            except grpc.RpcError as error:
                code = error.code()
            if code in AGAIN:
                self.again += 1
                continue
            wrong = self._wrong(kind, wanted, code, None if code else answer)
            self.right += not wrong
            if wrong:
                self.past.append(f"{self.old} of posting/{self.shard}, {kind}: {wrong}")

    @staticmethod
    def _wrong(kind: str, wanted, code, answer) -> str:
        """What is wrong with an answer; nothing if it is of the present."""
        if kind == "reads" and wanted is None:
            return "" if code == grpc.StatusCode.NOT_FOUND else f"a deleted post was answered with {code or answer.post.text}"
        if kind == "reads":
            return "" if code is None and answer.post.text == wanted else f"an edited post: {code or answer.post.text}"
        if kind == "repeats":
            return "" if code is None and answer.post_id == wanted else f"post {wanted} again: {code or answer.post_id}"
        if kind == "rejections":
            return "" if code is not None else "it did what it should have rejected"
        return "" if code != grpc.StatusCode.NOT_FOUND else "it knows nothing of a post that stands"

    def _once(self, pending, words: dict) -> None:
        """The command that was open ends as one post, whoever is asked."""
        found = set()
        for name in (self.new, self.old, self.new):
            def again():
                try:
                    return self.posting.post(name, "PublishPost", 10.0, **words).result().post_id
                except grpc.RpcError:
                    return None
            found.add(until("an answer to the open command", 60.0, again))
        try:
            found.add(pending.result(timeout=0.1).post_id)
        except (grpc.RpcError, grpc.FutureTimeoutError):
            pending.cancel()
        if len(found) != 1:
            self.past.append(f"one key made the posts {sorted(found)}")
