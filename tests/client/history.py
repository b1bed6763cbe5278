"""Reads a recorded history, and says which invariants of P92 it breaks.

    python tests/client/history.py FILE

A history is JSON lines; every line has `is`, `mono` (seconds, monotonic) and `wall` (seconds, Unix).

    server   server, host                          a server of the installation
    account  account, handle, server, session      an account, and the client that acts for it
    invoke   op, session, server, account, do, args, key, repeats
                                                   an operation begins; `repeats` is the operation whose answer was lost
    ok       op, status, result                    it was answered; a read that finds nothing has `absent`
    fail     op, status, result                    it definitely did not happen
    unknown  op, status, result                    it may have happened
    fault    kind, seed                            something was broken on purpose
    backup   phase                                 a backup `begins` or has `ended`, or was `restored`: what comes then knows
                                                   only what was in it
    owner    shard, old, stood, group, past, asked, right, again
                                                   an owner was stopped and asked: `probes.py`
    forged   met, published, deaf, behind, aside, away, distrusted  what stands in no log was said on the bus: `forged.py`
    recovered number, took                         after that fault every shard took writes again
    settled  repeats                               what had lost its answer was repeated
    ready    took                                  the server answers again
    quiet                                          no write is under way any more, all readers have caught up
    rebuilt  views, rows                           every view was rebuilt beside the live one and is equal
    row      service, shard, head, first, last, group, events
                                                   a row of a log, as it stands in the store

`do` is one of record.py's operations. Posts in results (`item`): id, by, text, boost (the boosted item), re (answers),
vis, names (mentioned accounts), liked, boosted (by the reader), counts [likes, boosts, replies]. `down_to`: nothing at
or above that id was left out.
Texts begin with a word that is the key of the command that wrote them, so each text belongs to one command.

This file gathers lines into commands and reads, and answers what may have been true at a moment; what must hold is
written in `invariants.py`.
"""

import bisect
import collections
import dataclasses
import json
import math
import sys

from record import WRITES

# Restrictions and others' writes bind all later reads within this many seconds (promises.md).
BINDS = 1.0
# Visibilities of posts that everybody may see.
OPEN = ("public", "unlisted")


@dataclasses.dataclass
class Command:
    """A write and all repeats of it: one key, one intention."""

    do: str
    key: str
    session: str
    server: str
    account: str
    args: dict
    begin: float
    end: float = math.inf
    state: str = "unknown"
    results: list = dataclasses.field(default_factory=list)
    attempts: int = 0
    lost: int = 0

    def settle(self, how: str, at: float, result: dict) -> None:
        self.attempts += 1
        if how == "ok":
            self.results.append(result)
            if self.state != "acked":
                self.state, self.end = "acked", at
        elif how == "unknown":
            # `absent`: what it is about is not there for the actor, or not any more. It was done before that, or never.
            self.lost += not result.get("absent")
            if self.state == "failed":
                # Only the attempt before is known to have done nothing.
                self.state, self.end = "unknown", math.inf
        elif self.attempts == 1 and self.state != "acked":
            # A refusal of a repeat says nothing of the first attempt.
            self.state, self.end = "failed", at

    @property
    def happened(self) -> bool:
        """Whether it may have had an effect."""
        return self.state != "failed"

    def ended_for(self, session: str) -> float:
        """From when on a session must see it: its own writes at once, those of others within a second."""
        return self.end if session == self.session else self.end + BINDS


@dataclasses.dataclass
class Read:
    op: int
    do: str
    session: str
    server: str
    viewer: str
    args: dict
    begin: float
    end: float
    result: dict
    quiet: bool

    def items(self) -> list:
        """Everything that was shown as a post, boosts beside what they wrap."""
        found = list(self.result.get("items", ())) + list(self.result.get("above", ()))
        if "item" in self.result:
            found.append(self.result["item"])
        return found + [one["boost"] for one in found if one.get("boost")]


class History:
    def __init__(self, lines: list[dict]):
        self.lines = lines
        self.accounts = {line["account"]: line for line in lines if line["is"] == "account"}
        self.rows = [line for line in lines if line["is"] == "row"]
        self.commands: list[Command] = []
        self.reads: list[Read] = []
        self._gather()
        self.posts = {post: one for one in self.of("publish") for post in self.ids(one)}
        self.by_word = {word(one.args["status"]): one for one in self.of("publish", "edit")}
        self.order = sorted(self.posts, key=int)
        self.perhaps = self._perhaps()
        self.deletes = self._by(lambda one: one.args["post"], "delete")
        self.edits = self._by(lambda one: one.args["post"], "edit")
        self.likes = self._by(lambda one: (one.account, one.args["post"]), "like", "unlike")
        self.boosts = self._by(lambda one: (one.account, one.args["post"]), "boost", "unboost")
        self.likers, self.boosters = self._of_posts(self.likes), self._of_posts(self.boosts)
        self.replies = self._replies()
        self.follows = self._follows()
        self.named = self._named()
        self.blocks = self._by(lambda one: (one.account, one.args["whom"]), "block", "unblock")

    def _gather(self) -> None:
        begun, commands, quiet = {}, {}, False
        for line in self.lines:
            kind = line["is"]
            if kind == "quiet":
                quiet = True
            elif kind == "invoke":
                begun[line["op"]] = line | {"quiet": quiet}
                if line["do"] in WRITES:
                    name = (line["server"], line["account"] or line["session"], line["key"])
                    if name not in commands:
                        commands[name] = Command(
                            line["do"], line["key"], line["session"], line["server"], line["account"], line["args"], line["mono"]
                        )
                        self.commands.append(commands[name])
                    begun[line["op"]]["command"] = commands[name]
            elif kind in ("ok", "fail", "unknown"):
                first = begun[line["op"]]
                if "command" in first:
                    first["command"].settle(kind, line["mono"], line["result"])
                elif kind == "ok":
                    self.reads.append(Read(
                        line["op"], first["do"], first["session"], first["server"], first["account"], first["args"],
                        first["mono"], line["mono"], line["result"], first["quiet"],
                    ))
        self.reads.sort(key=lambda read: read.begin)

    def of(self, *names: str) -> list[Command]:
        return [one for one in self.commands if one.do in names]

    def _by(self, key, *names: str) -> dict:
        found = collections.defaultdict(list)
        for one in self.of(*names):
            if one.happened:
                found[key(one)].append(one)
        return found

    def _perhaps(self) -> set[str]:
        """Ids under which posts were shown whose publishing was never answered: they may stand, and need not."""
        shown = (item for read in self.reads for item in read.items() if item["id"] not in self.posts and not item["boost"])
        wrote = ((item["id"], self.by_word.get(word(item["text"]))) for item in shown)
        return {post for post, one in wrote if one and one.do == "publish" and one.state == "unknown"}

    @staticmethod
    def _of_posts(reactions: dict) -> dict:
        """For each post: what each account did about it."""
        found = collections.defaultdict(dict)
        for (account, post), commands in reactions.items():
            found[post][account] = commands
        return found

    def _replies(self) -> dict:
        """For each post: the posts that answer it."""
        found = collections.defaultdict(list)
        for post, publish in self.posts.items():
            if publish.args.get("in_reply_to_id"):
                found[publish.args["in_reply_to_id"]].append(post)
        return found

    def _follows(self) -> dict:
        """What bears on whether the first follows the second; a block by either ends it."""
        found = self._by(lambda one: (one.account, one.args["whom"]), "follow", "unfollow")
        for one in self.of("block"):
            if one.happened:
                found[one.account, one.args["whom"]].append(one)
                found[one.args["whom"], one.account].append(one)
        return found

    @staticmethod
    def ids(one: Command) -> set[str]:
        """Every id that a command was answered with."""
        return {result["item"]["id"] for result in one.results if "item" in result}

    @staticmethod
    def may(commands: list[Command] | None, sets: set[str], begin: float, end: float, session: str, early: bool = True) -> set[bool]:
        """What may have been the state within a window: true after one of `sets`, false after any other.

        `early`: the effect of another's command may be seen before its answer and up to BINDS after it.
        """
        if not commands:
            return {False}
        before, found = [], set()
        for one in commands:
            ended = one.ended_for(session) if early else one.end
            if one.begin >= end:
                continue
            if ended > begin:
                found.add(one.do in sets)
            else:
                before.append(one)
        last = [one for one in before if not any(other.begin > one.end for other in before)]
        found |= {one.do in sets for one in last} if last else {False}
        return found

    def follow(self, who: str, whom: str, read: Read) -> set[bool]:
        return self.may(self.follows.get((who, whom)), {"follow"}, read.begin, read.end, read.session)

    def block(self, who: str, whom: str, read: Read) -> set[bool]:
        return self.may(self.blocks.get((who, whom)), {"block"}, read.begin, read.end, read.session)

    def gone(self, post: str, read: Read) -> set[bool]:
        return self.may(self.deletes.get(post), {"delete"}, read.begin, read.end, read.session)

    def posts_above(self, post: str) -> list[str]:
        """Ids of posts at or above this one."""
        return self.order[bisect.bisect_left(self.order, int(post), key=int):]

    def _named(self) -> dict:
        """Whom each post names for certain, and whom perhaps: a name typed may be left out, as that of somebody blocked."""
        named = {}
        for post, publish in self.posts.items():
            wrote = [publish, *self.edits[post]]
            told = [set(result["item"]["names"]) for one in wrote for result in one.results if "item" in result]
            typed = {one for command in wrote if command.state != "acked" for one in publish.args["_mentions"]}
            named[post] = (set.intersection(*told) if told and not typed else set(), set.union(typed, *told))
        return named

    def names(self, post: str, account: str) -> set[bool]:
        """Whether a post names an account."""
        certain, possible = self.named[post]
        return {True} if account in certain else {account in possible} | {False}

    def audience(self, post: str, viewer: str, follows: set[bool]) -> set[bool]:
        """Whether the viewer, who follows the author or not, is among those whom the post is for."""
        publish = self.posts[post]
        if viewer == publish.account or publish.args["visibility"] in OPEN:
            return {True}
        named = self.names(post, viewer)
        if publish.args["visibility"] == "direct" or named == {True}:
            return named
        return follows if named == {False} else follows | {True}

    def events(self):
        """(row, place, event) of every event of the logs."""
        for row in self.rows:
            for offset, event in enumerate(row["events"]):
                yield row, row["first"] + offset, event


def word(text: str) -> str:
    """The word that names the command which wrote a text."""
    return text.split(" ", 1)[0]


def load(path: str) -> History:
    with open(path) as file:
        return History([json.loads(line) for line in file])


def main() -> None:
    import invariants  # it needs this module's names

    history = load(sys.argv[1])
    found = invariants.check(history)
    for name, problems in found.items():
        said = f"{len(problems)} violations" if problems else "holds"
        print(f"{said}: {invariants.CHECKS[name].__doc__}")
        for problem in problems[:10]:
            print(f"    {problem}")
    sys.exit(1 if any(found.values()) else 0)


if __name__ == "__main__":
    main()
