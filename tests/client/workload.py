"""People on two servers of one installation, who do everything at once and write down what came of it.

It drives a `Node` that others start, kill or hinder, and judges nothing. What is random here comes from the seed.
"""

import collections
import concurrent.futures
import json
import pathlib
import random
import threading
import time
import urllib.parse

from history import BINDS
from node import Node, call
from record import WRITES, Recorder, Session

SERVERS = {"localhost": 6, "second.localhost": 4}
PASSWORD = "a long password"
# How many read at the end at the same time.
READERS = 8
# Views of a cluster that are rebuilt at a time: most of it is waiting until every member has noted something.
REBUILT_AT_ONCE = 8
# Seconds in which a server that asks to be tried again must have settled a repeated command.
SETTLES_WITHIN = 30.0
# What undoes what, and how often such a deed is about something that stands: by chance alone hardly one would be. Blocks
# are few, and some must be left at the end.
UNDOES = {"unlike": "like", "unboost": "boost", "unfollow": "follow", "unblock": "block"}
UNDONE = {"unlike": 0.5, "unboost": 0.5, "unfollow": 0.5, "unblock": 0.2}
# What somebody does next, and how often of a hundred.
DEEDS = {
    "publish": 24, "reply": 10, "too_long": 2, "like": 12, "unlike": 3, "boost": 7, "unboost": 2, "edit": 6, "delete": 3,
    "follow": 5, "unfollow": 2, "block": 1, "unblock": 1, "home": 8, "posts": 4, "show": 4, "thread": 2,
    "notifications": 2, "relationships": 1, "trespass": 1,
}


class World:
    """What everybody in this test knows: accounts and recent posts."""

    def __init__(self):
        self.people: dict[str, str] = {}
        self.recent = collections.deque(maxlen=60)
        self.touched: set[str] = set()
        self.handles: list[tuple[str, str]] = []
        self.acked = threading.Semaphore(0)
        self.enough = threading.Event()


class Person(threading.Thread):
    """Does one deed after the other until an answer is lost; `pending` is what must be repeated."""

    def __init__(self, session: Session, world: World, memory: "Memory", seed: str):
        super().__init__(daemon=True)
        self.session, self.world, self.memory, self.chance = session, world, memory, random.Random(seed)
        self.pending: list[tuple[str, str, int, dict]] = []

    def run(self) -> None:
        names, weights = zip(*DEEDS.items())
        while not self.world.enough.is_set():
            deed = self.chance.choices(names, weights)[0]
            if not getattr(self, f"do_{deed}", lambda: self.about(deed))():
                return

    def write(self, do: str, **args) -> bool:
        """One write; false if nobody answers any more."""
        key = self.memory.key(self.session.name)
        if do in ("publish", "edit"):
            args["status"] = key + args["status"]
        how, result, number = self.session.do(do, key, **args)
        if how == "ok":
            self.world.acked.release()
            self.memory.note(do, args, result, self.world)
        elif how == "unknown" and not result.get("absent"):
            self.pending.append((do, key, number, args))
        return self.session.connection is not None

    def read(self, do: str, **args) -> bool:
        self.session.do(do, **args)
        return self.session.connection is not None

    def post(self, own: bool = False) -> str | None:
        known = list(self.memory.posts) if own else [post for post, _, _ in list(self.world.recent)]
        return self.chance.choice(known) if known else None

    def other(self) -> str:
        return self.chance.choice([one for one in self.world.people if one != self.session.account])

    def about(self, deed: str) -> bool:
        """Deeds that say no more than about whom or what."""
        did = self.memory.did[UNDOES.get(deed)]
        stands = self.chance.choice(did) if did and self.chance.random() < UNDONE[deed] else None
        if deed in ("follow", "unfollow", "block", "unblock"):
            return self.write(deed, whom=stands or self.other())
        post = stands or self.post(own=deed == "delete")
        if post is None:
            return self.do_publish()
        return self.write(deed, post=post) if deed in WRITES else self.read(deed, post=post)

    def do_publish(self, **more) -> bool:
        mentions = [self.other()] if self.chance.random() < 0.25 else []
        kinds = ("public", "unlisted", "private", "direct")
        visibility = self.chance.choices(kinds, (76, 8, 10, 6 if mentions else 0))[0]
        words = "".join(f" @{self.world.people[one]}" for one in mentions)
        return self.write("publish", status=words, visibility=visibility, _mentions=mentions, **more)

    def do_reply(self) -> bool:
        post = self.post()
        return self.do_publish(in_reply_to_id=post) if post else self.do_publish()

    def do_too_long(self) -> bool:
        return self.write("publish", status=" " + "long " * 200, visibility="public")

    def do_edit(self) -> bool:
        post = self.post(own=True)
        return self.write("edit", post=post, status=self.memory.posts[post] + " edited") if post else self.do_publish()

    def do_home(self) -> bool:
        return self.read("home")

    def do_posts(self) -> bool:
        return self.read("posts", whom=self.chance.choice(list(self.world.people)))

    def do_notifications(self) -> bool:
        return self.read("notifications")

    def do_relationships(self) -> bool:
        return self.read("relationships", **{"id[]": [one for one in self.world.people if one != self.session.account]})

    def do_trespass(self) -> bool:
        """Tries the token at the other server."""
        here = self.session.host
        self.session.host = next(host for host in self.memory.hosts if host != here)
        went = self.read("whoami", _foreign=self.session.host)
        self.session.host = here
        return went


class Memory:
    """What one person remembers from one life of the server to the next: own posts with the names in them, used keys,
    and what he did and has not undone."""

    def __init__(self, hosts: list[str]):
        self.hosts, self.posts, self.count = hosts, {}, 0
        self.did: dict[str | None, list[str]] = collections.defaultdict(list)

    def key(self, name: str) -> str:
        self.count += 1
        return f"{name}-{self.count}"

    def note(self, do: str, args: dict, result: dict, world: World) -> None:
        if do == "publish":
            item = result["item"]
            self.posts[item["id"]] = "".join(f" @{world.people[one]}" for one in args["_mentions"])
            world.recent.append((item["id"], item["by"], item["vis"]))
        elif do == "delete":
            self.posts.pop(args["post"], None)
        elif do in UNDOES.values():
            self.did[do].append(args.get("post") or args["whom"])
        elif do in UNDOES:
            about = args.get("post") or args["whom"]
            self.did[UNDOES[do]] = [one for one in self.did[UNDOES[do]] if one != about]
        if "post" in args:
            world.touched.add(args["post"])
        if args.get("in_reply_to_id"):
            world.touched.add(args["in_reply_to_id"])


class Racer(threading.Thread):
    """Signs up under handles that another wants at the same time."""

    def __init__(self, stage: "Stage", session: Session, memory: Memory, handles: list[str], seed: str):
        super().__init__(daemon=True)
        self.stage, self.session, self.memory, self.handles = stage, session, memory, handles
        self.chance = random.Random(seed)
        self.pending: list[tuple[str, str, int, dict]] = []

    def run(self) -> None:
        for handle in self.handles:
            if self.stage.world.enough.is_set():
                return
            # Looks meanwhile, so that the races are spread over the whole life of the server.
            for _ in range(self.chance.randrange(12)):
                self.session.do("lookup", acct=handle)
            key = self.memory.key(self.session.name)
            how, result, number = self.session.do("signup", key, form=sign_up_form(key), username=handle)
            if how == "ok":
                self.stage.who_is(self.session, key, result)
            elif how == "unknown":
                self.pending.append(("signup", key, number, {"username": handle}))
            if self.session.connection is None:
                return
            self.session.do("lookup", acct=handle)


class Operator(threading.Thread):
    """Rebuilds views and rotates keys while everybody works, so that kills meet those in the midst as well."""

    def __init__(self, stage: "Stage", seed: str):
        super().__init__(daemon=True)
        self.stage, self.chance, self.pending = stage, random.Random(seed), []
        # Views that differed: a rebuild heals them, so that nothing is seen of it at the end.
        self.differed: list[str] = []

    def run(self) -> None:
        views = self.stage.views
        while not self.stage.world.enough.is_set():
            rotate = self.chance.random() < 0.3
            words = ("keys", "rotate") if rotate else ("view", "rebuild", self.chance.choice(views), "--verify")
            try:
                self.stage.recorder.write("operator", words=words, said=self.stage.node.cli(*words))
            except RuntimeError as error:
                self.stage.recorder.write("operator", words=words, failed=str(error))
                # A view that differs is told at the end of the run; anything else is the end of this life.
                if "difference" not in str(error):
                    return
                self.differed.append(str(error))


def sign_up_form(key: str) -> dict:
    return {"email": f"{key}@example.org", "password": PASSWORD, "agreement": "true", "locale": "en"}


class Stage:
    """An installation with two servers and their people; it outlives the processes that serve it."""

    def __init__(self, folder: pathlib.Path, recorder: Recorder, seed: int, wrap: tuple = (), begin=None, people: dict = SERVERS):
        """`begin` starts something else than one process, with its data in a directory; `people`: how many on which server."""
        self.folder, self.recorder, self.seed, self.lives = folder, recorder, seed, 0
        self.node = begin(folder / "data") if begin else Node(folder / "data", wrap=wrap)
        self.port = urllib.parse.urlparse(self.node.url).port
        self.hosts = {"localhost": f"127.0.0.1:{self.port}", "second.localhost": f"second.localhost:{self.port}"}
        self.node.cli(
            "server", "create", "second.localhost", "--public-url", f"http://{self.hosts['second.localhost']}",
            "--registration", "open",
        )
        self.world, self.people, self.racers = World(), [], []
        self.views = [view["name"] for view in json.loads(self.node.cli("view", "list", "--json"))["views"]]
        self.memories: dict[str, Memory] = {}
        for server, count in people.items():
            self._populate(server, count)
        self.reach()
        self.thread = self._thread()

    def _populate(self, server: str, count: int) -> None:
        where, host = ("--server", server), self.hosts[server]
        app = json.loads(self.node.cli("app", "create", "--name", "tests", "--json", *where))["app"]["clientId"]
        for number in range(count):
            name = f"{server[0]}{number}"
            self.node.cli("account", "create", name, "--email", f"{name}@example.org", "--password", PASSWORD, *where)
            token = self.node.cli("token", "create", "--account", name, "--app", app, *where)
            session = Session(self.recorder, name, server, token)
            session.reach(self.port, host)
            session.account = session.do("whoami")[1]["account"]
            self.recorder.write("account", account=session.account, handle=name, server=server, session=name)
            self.world.people[session.account] = f"{name}@{server}"
            self.world.handles.append((server, name))
            self.people.append(session)
        self.recorder.write("server", server=server, host=host)
        url, headers = f"http://127.0.0.1:{self.port}", {"Host": host}
        form = {"client_name": "race", "redirect_uris": "urn:ietf:wg:oauth:2.0:oob", "scopes": "read write follow"}
        asked = call(f"{url}/api/v1/apps", form=form, headers=headers)[2]
        form = {"grant_type": "client_credentials", "scope": "read write follow"}
        form |= {"client_id": asked["client_id"], "client_secret": asked["client_secret"]}
        token = call(f"{url}/oauth/token", form=form, headers=headers)[2]["access_token"]
        self.racers += [Session(self.recorder, f"race{server[0]}{number}", server, token) for number in range(2)]

    def _thread(self) -> str:
        """A post with an answer to its answer, which nobody deletes: chance alone does not always write so deep a thread."""
        author, posts = self.people[0], []
        for _ in range(3):
            key = self.memory(author).key(author.name)
            more = {"in_reply_to_id": posts[-1]} if posts else {}
            how, result, _ = author.do("publish", key, status=key, visibility="public", _mentions=[], **more)
            assert how == "ok", f"a thread of {len(posts)} posts got no more: {how} {result}"
            posts.append(result["item"]["id"])
        return posts[0]

    def memory(self, session: Session) -> Memory:
        return self.memories.setdefault(session.name, Memory(list(self.hosts.values())))

    def reach(self) -> None:
        for session in self.people + self.racers:
            session.reach(self.port, self.hosts[session.server])

    def begin(self, operate: bool = True) -> list:
        """Everybody begins, the operator too unless he shall not; those who were begun."""
        self.lives += 1
        self.world.acked = threading.Semaphore(0)
        self.world.enough.clear()
        begun = [Person(one, self.world, self.memory(one), f"{self.seed}/{self.lives}/{one.name}") for one in self.people]
        handles = [f"race{self.lives}x{number}" for number in range(4)]
        self.world.handles += [(server, handle) for server in SERVERS for handle in handles]
        for index, one in enumerate(self.racers):
            wanted = [handle.upper() if index % 2 else handle for handle in handles]
            begun.append(Racer(self, one, self.memory(one), wanted, f"{self.seed}/{self.lives}/{index // 2}"))
        if operate:
            begun.append(Operator(self, f"{self.seed}/{self.lives}/operator"))
        for one in begun:
            one.start()
        return begun

    def work(self, writes: int, operate: bool = True) -> int:
        """Everybody does what they do until so many writes are acknowledged; how many were repeated to settle them."""
        begun = self.begin(operate)
        for _ in range(writes):
            assert self.world.acked.acquire(timeout=60), "nothing was acknowledged for a minute"
        self.world.enough.set()
        for one in begun:
            one.join()
        differed = [problem for one in begun if isinstance(one, Operator) for problem in one.differed]
        assert not differed, f"views differed from what the logs say: {differed[:3]}"
        count, refused = self.repeat(begun)
        assert not refused, f"repeats were refused: {refused[:3]}"
        return count

    def restart(self, wrap: tuple = ()) -> float:
        """Starts the server again where it was; how long that took."""
        self.node = Node(self.folder / "data", self.port, wrap)
        self.recorder.write("ready", took=round(self.node.took, 3))
        self.reach()
        return self.node.took

    def stillborn(self, seconds: float) -> None:
        """Starts the server and kills it, mostly before it is ready."""
        node = Node(self.folder / "data", self.port, wait=False)
        threading.Event().wait(seconds)
        self.recorder.write("fault", kind="F02", early=round(seconds, 3))
        node.kill()
        node.process.stdout.close()

    def repeat(self, begun: list) -> tuple[int, list[str]]:
        """Repeats everything whose answer was lost, with its key: how many, and what the server would not settle."""
        count, refused = 0, []
        for one in begun:
            for do, key, number, args in one.pending:
                count += 1
                form = sign_up_form(key) if do == "signup" else None
                how, result, _ = one.session.do(do, key, number, form, **args)
                ends = time.monotonic() + SETTLES_WITHIN
                while "try again" in str(result.get("error")) and time.monotonic() < ends:
                    # Out of order for a moment: a store that is opened anew.
                    threading.Event().wait(0.2)
                    how, result, _ = one.session.do(do, key, number, form, **args)
                if how == "ok" and do == "signup":
                    self.who_is(one.session, key, result)
                elif how == "ok":
                    self.memory(one.session).note(do, args, result, self.world)
                    if do in ("publish", "boost"):
                        one.session.do(do, key, number, **args)
                elif do == "publish" and not args.get("in_reply_to_id") and len(args["status"]) < 500:
                    refused.append(f"{do} {key}: {how} {result}")
        return count, refused

    def who_is(self, session: Session, key: str, result: dict) -> None:
        """Asks who was signed up."""
        fresh = Session(self.recorder, key, session.server, result["token"])
        fresh.reach(session.port, session.host)
        fresh.do("whoami", _signup=key)

    def rebuild_all(self, at_once: int = 1) -> int:
        """Rebuilds every view beside the live one and compares them (I14), so many at a time; how many rows."""
        def rebuild(view: str) -> int:
            said = json.loads(self.node.cli("view", "rebuild", view, "--verify", "--json"))
            return int(said.get("compared", 0))
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            return sum(pool.map(rebuild, self.views))

    def caught_up(self) -> bool:
        lags = json.loads(self.node.cli("lag", "--json"))["lags"]
        return all(one.get("head", "0") == one.get("applied", "0") for one in lags)

    def catch_up(self) -> None:
        """Waits until readers have applied everything."""
        for _ in range(1200):
            if self.caught_up():
                return
            threading.Event().wait(0.05)
        raise AssertionError("readers did not catch up within a minute: " + self.node.cli("lag"))

    def settle(self) -> None:
        """Waits until readers have applied everything, then lets everybody read everything."""
        self.catch_up()
        # From here on everything binds, so that what is read next is not open any more.
        threading.Event().wait(BINDS)
        self.recorder.write("quiet")
        # Some at a time: a home of thousands is hundreds of pages, each of which waits for the store.
        with concurrent.futures.ThreadPoolExecutor(READERS) as readers:
            list(readers.map(self._read_all, self.people))
        for server in SERVERS:
            reader = next(one for one in self.people if one.server == server)
            for _, handle in [one for one in self.world.handles if one[0] == server]:
                reader.do("lookup", acct=handle)
        self._logs()

    def _read_all(self, one: Session) -> None:
        """Everything that one person can read."""
        chance, touched = random.Random(f"{self.seed}/last/{one.name}"), sorted(self.world.touched)
        one.do("home", all=True)
        one.do("posts", whom=one.account, all=True)
        one.do("notifications", all=True)
        one.do("relationships", **{"id[]": [other for other in self.world.people if other != one.account]})
        one.do("account", whom=one.account)
        one.do("thread", post=self.thread)
        for post in chance.sample(touched, min(len(touched), 12)):
            one.do("show", post=post)
            one.do("thread", post=post)
            one.do("likers", post=post, all=True)
            one.do("boosters", post=post, all=True)

    def _logs(self) -> None:
        for line in self.node.cli("events", "log").splitlines():
            row = json.loads(line)
            events = [
                {
                    "id": event["eventId"], "stream": event.get("stream", ""), "version": int(event.get("version", 0)),
                    "type": event["type"], "actor": event.get("actorId", "0"), "cause": int(event.get("causationId", 0)),
                    "scope": event.get("idempotencyScope", ""), "key": event.get("idempotencyKey", ""),
                    "digest": event.get("idempotencyDigest", ""), "correlation": event.get("correlationId", ""),
                }
                for event in row["events"]
            ]
            self.recorder.write(
                "row", service=row["service"], shard=row.get("shard", 0), head=int(row["head"]),
                first=int(row["firstSeq"]), last=int(row["lastSeq"]), group=row["groupId"], events=events,
            )
