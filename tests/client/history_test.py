"""Plants a violation of each invariant into a good recorded history, and sees that each is reported by name.

    python tests/client/history_test.py FILE

Every plant takes the lines of the history, finds a place where the violation would have been seen by a client or in the
log, and changes those lines alone.
"""

import copy
import pickle
import sys

import homes
import invariants
from history import History, load, word


class Lines:
    """A copy of a history's lines that can be changed."""

    def __init__(self, history: History, lines: list[dict]):
        self.history, self.lines = history, lines
        self.by_op = {(line["op"], line["is"]): line for line in self.lines if "op" in line}

    def result(self, read) -> dict:
        return self.by_op[read.op, "ok"]["result"]

    def reads(self, do: str, quiet: bool = True):
        return [read for read in self.history.reads if read.do == do and read.quiet == quiet]

    def rows(self, service: str = "posting"):
        """Rows that people wrote whose requests are recorded; others may write too, and nobody was told of theirs."""
        rows = [line for line in self.lines if line["is"] == "row" and line["service"] == service]
        return [row for row in rows if row["events"][0]["stream"] and row["events"][0]["actor"] in self.history.accounts]

    def alive(self, post: str, read) -> bool:
        return post in self.history.posts and self.history.gone(post, read) == {False}


def first(found):
    """The first of what is there; a history without any is too poor to test with."""
    for one in found:
        return one
    raise AssertionError("the history has no place for this plant")


def lost_post(plant: Lines) -> None:
    """An acknowledged post is gone from its author's posts."""
    read = first(one for one in plant.reads("posts") if one.args.get("all"))
    items = plant.result(read)["items"]
    items.remove(first(one for one in items if plant.alive(one["id"], read)))


def lost_event(plant: Lines) -> None:
    """An acknowledged post is in no log."""
    row = first(row for row in plant.rows() if row["events"][0]["type"].endswith("PostPublished"))
    row["events"][0] |= {"type": "p92.posting.v1.Nothing"}


def risen_post(plant: Lines) -> None:
    """A deleted post is shown again."""
    for read in plant.reads("posts"):
        for one in plant.history.of("delete"):
            post = one.args["post"]
            if one.state == "acked" and post in plant.history.posts and one.account == read.viewer == read.args["whom"]:
                publish = plant.history.posts[post]
                plant.result(read)["items"].append(shown(plant, post, publish))
                return
    raise AssertionError("nothing was deleted")


def shown(plant: Lines, post: str, publish) -> dict:
    """A post as a reader would see it."""
    return {
        "id": post, "by": publish.account, "text": publish.args["status"], "boost": None, "re": None, "names": [],
        "vis": publish.args["visibility"], "liked": None, "boosted": None, "counts": [0, 0, 0],
    }


def forgotten_follow(plant: Lines) -> None:
    """An acknowledged follow is not there."""
    read = first(one for one in plant.reads("relationships") if any(rel["follows"] for rel in one.result["relations"]))
    first(rel for rel in plant.result(read)["relations"] if rel["follows"])["follows"] = False


def twice_done(plant: Lines) -> None:
    """A key was done twice: its event stands again at the end of its log, under a new id and stream."""
    row = first(row for row in plant.rows() if row["events"][0]["key"])
    mine = [one for one in plant.rows() if one["shard"] == row["shard"]]
    event = row["events"][0] | {"id": "1", "stream": "post/1", "version": 1, "correlation": "1"}
    end = max(one["last"] for one in mine) + 1
    plant.lines.append(row | {"first": end, "last": end, "group": "planted", "events": [event]})


def two_ids(plant: Lines) -> None:
    """A repeat made a second post."""
    publish = first(one for one in plant.history.of("publish") if len(one.results) > 1)
    ok = first(
        plant.by_op[line["op"], "ok"] for line in plant.lines
        if line["is"] == "invoke" and line["key"] == publish.key and line["repeats"] and (line["op"], "ok") in plant.by_op
    )
    ok["result"]["item"]["id"] = "1"


def version_gap(plant: Lines) -> None:
    """A stream goes from one version to the next but one."""
    first(row for row in plant.rows() if row["events"][0]["version"] > 1)["events"][0]["version"] += 1


def same_version(plant: Lines) -> None:
    """A stream has a version twice."""
    first(row for row in plant.rows("identity") if row["events"][0]["version"] > 1)["events"][0]["version"] -= 1


def row_missing(plant: Lines) -> None:
    """A row in the middle of a log is gone."""
    rows = plant.rows()
    plant.lines.remove(rows[len(rows) // 2])


def log_cut(plant: Lines) -> None:
    """A log ends before its head."""
    rows = plant.rows()
    rows = [row for row in rows if row["shard"] == rows[0]["shard"]]
    plant.lines.remove(max(rows, key=lambda row: row["first"]))


def event_twice(plant: Lines) -> None:
    """Two places of the logs hold the same event."""
    one, other = plant.rows()[0], plant.rows()[-1]
    other["events"][0]["id"] = one["events"][0]["id"]


def home_read(plant: Lines):
    return first(one for one in plant.reads("home") if len(one.result["items"]) > 5)


def home_lacks(plant: Lines) -> None:
    """A home lacks the post of somebody who is followed."""
    for read in plant.reads("home") + plant.reads("home", quiet=False):
        home, items = homes.Home(plant.history, read), plant.result(read)["items"]
        for one in items:
            publish = plant.history.posts.get(one["id"])
            if publish and one["by"] != read.viewer and home.known(publish) and home.place(one["id"]) == {True}:
                items.remove(one)
                return
    raise AssertionError("no home has the post of somebody else")


def home_twice(plant: Lines) -> None:
    """A home shows a post twice."""
    items = plant.result(home_read(plant))["items"]
    items.append(copy.deepcopy(items[0]))


def home_stranger(plant: Lines) -> None:
    """A home shows the post of somebody who is not followed."""
    for read in plant.reads("home"):
        home = homes.Home(plant.history, read)
        for post, publish in plant.history.posts.items():
            if publish.account != read.viewer and home.follows[publish.account] == {False} and plant.alive(post, read):
                plant.result(read)["items"].append(shown(plant, post, publish))
                return
    raise AssertionError("everybody follows everybody")


def _boost_is_due(history: History, read, post: str) -> bool:
    return bool(homes._boosts_lacking(history, homes.Home(history, read), set(history.posts) - {post}, ""))


def home_lacks_boost(plant: Lines) -> None:
    """A home lacks the post that somebody who is followed has boosted."""
    for read in plant.reads("home"):
        for item in plant.result(read)["items"]:
            if item["boost"] and _boost_is_due(plant.history, read, item["boost"]["id"]):
                plant.result(read)["items"].remove(item)
                return
    raise AssertionError("no home has a boost")


def answer_without_parent(plant: Lines) -> None:
    """A thread shows an answer and not what it answers."""
    for read in plant.reads("thread", quiet=False) + plant.reads("thread"):
        for item in plant.result(read).get("items", ()):
            parent = plant.history.posts.get(item["re"])
            if parent is None or item["re"] == read.args["post"]:
                continue
            blocks = plant.history.block(read.viewer, parent.account, read)
            if blocks == {False} and invariants._sees(plant.history, parent, item["re"], read) == {True}:
                result = plant.result(read)
                result["items"] = [one for one in result["items"] if one["id"] != item["re"]]
                return
    raise AssertionError("no thread is two deep")


def answer_to_nothing(plant: Lines) -> None:
    """A read shows an answer to what was never published."""
    read = first(one for one in plant.reads("home") if any(item["re"] for item in one.result["items"]))
    first(one for one in plant.result(read)["items"] if one["re"])["re"] = "1"


def shown_to_stranger(plant: Lines) -> None:
    """A direct post is shown to somebody whom it is not for."""
    for read in plant.reads("posts"):
        for post, publish in plant.history.posts.items():
            if publish.args["visibility"] == "direct" and plant.history.audience(post, read.viewer, {True}) == {False}:
                if plant.alive(post, read):
                    plant.result(read)["items"].append(shown(plant, post, publish))
                    return
    raise AssertionError("nothing direct was published")


def shown_to_blocked(plant: Lines) -> None:
    """A post is shown to somebody whom its author blocks."""
    for read in plant.reads("show"):
        for post, publish in plant.history.posts.items():
            if plant.history.block(publish.account, read.viewer, read) == {True} and plant.alive(post, read):
                plant.by_op[read.op, "ok"]["result"] = {"item": shown(plant, post, publish)}
                return
    raise AssertionError("nobody blocks anybody")


def foreign_token(plant: Lines) -> None:
    """A token is taken at the other server."""
    tried = (line for line in plant.lines if line["is"] == "invoke" and line["args"].get("_foreign"))
    line = first(line for line in tried if (line["op"], "fail") in plant.by_op)
    refusal = plant.by_op[line["op"], "fail"]
    refusal |= {"is": "ok", "status": 200, "result": {"account": line["account"], "handle": "x", "counts": [0, 0, 0]}}


def own_post_missing(plant: Lines) -> None:
    """One's own acknowledged post is not in one's own home."""
    for read in plant.reads("home", quiet=False) + plant.reads("home"):
        for item in read.result["items"]:
            if item["by"] == read.viewer and not item["boost"] and plant.alive(item["id"], read):
                if plant.history.posts[item["id"]].end < read.begin:
                    plant.result(read)["items"] = [one for one in plant.result(read)["items"] if one["id"] != item["id"]]
                    return
    raise AssertionError("nobody reads own posts")


def own_like_missing(plant: Lines) -> None:
    """One's own like is not seen."""
    for read in plant.history.reads:
        for item in plant.result(read).get("items", ()) if read.do in ("home", "posts") else ():
            likes = plant.history.likes[read.viewer, item["id"]]
            if not item["boost"] and item["liked"] and item["id"] in plant.history.posts:
                if plant.history.may(likes, {"like"}, read.begin, read.end, read.session) == {True}:
                    item["liked"] = False
                    return
    raise AssertionError("nobody sees own likes")


def went_back(plant: Lines) -> None:
    """A session sees the text from before an edit after it has seen the edit."""
    for read in plant.reads("posts"):
        for item in plant.result(read)["items"]:
            edits = plant.history.edits.get(item["id"])
            if edits and item["by"] == read.viewer and word(item["text"]) != plant.history.posts[item["id"]].key:
                if any(one.state == "acked" for one in edits):
                    item["text"] = plant.history.posts[item["id"]].args["status"]
                    return
    raise AssertionError("nothing was edited")


def notified_twice(plant: Lines) -> None:
    """The same cause is notified twice."""
    read = first(one for one in plant.reads("notifications") if any(note["type"] == "mention" for note in one.result["notes"]))
    notes = plant.result(read)["notes"]
    notes.append(first(one for one in notes if one["type"] == "mention") | {"id": "1"})


def not_notified(plant: Lines) -> None:
    """A cause is not notified."""
    for read in plant.reads("notifications"):
        due = invariants._due(plant.history, read)
        if due:
            result = plant.result(read)
            result["notes"] = [one for one in result["notes"] if (one["type"], one["by"], one["post"]) != due[0]]
            return
    raise AssertionError("nothing is due")


def two_owners(plant: Lines) -> None:
    """Two sign-ups get one handle."""
    won = {(one.server, one.args["username"].lower()) for one in plant.history.of("signup") if one.state == "acked"}
    lost = (one for one in plant.history.of("signup") if one.state == "failed")
    refused = first(one for one in lost if (one.server, one.args["username"].lower()) in won)
    op = first(line["op"] for line in plant.lines if line["is"] == "invoke" and line["key"] == refused.key)
    plant.by_op[op, "fail"] |= {"is": "ok", "status": 200, "result": {"token": "x"}}


def other_owner(plant: Lines) -> None:
    """A handle names another account than before."""
    read = first(one for one in plant.reads("lookup") if not one.result.get("absent"))
    plant.result(read)["account"] = "1"


def handle_gone(plant: Lines) -> None:
    """A handle that was given names nobody."""
    seen = set()
    for read in (one for one in plant.history.reads if one.do == "lookup"):
        if (read.server, read.args["acct"].lower()) in seen:
            plant.by_op[read.op, "ok"]["result"] = {"absent": True}
            return
        if not read.result.get("absent"):
            seen.add((read.server, read.args["acct"].lower()))
    raise AssertionError("no handle was looked up twice")


def miscounted(plant: Lines) -> None:
    """A post has more likes than can be, even if all that is open was done."""
    read = first(one for one in plant.reads("posts") if one.args.get("all"))
    first(one for one in plant.result(read)["items"] if plant.alive(one["id"], read))["counts"][0] += 100


def miscounted_followers(plant: Lines) -> None:
    """An account has more followers than can be."""
    plant.result(plant.reads("account")[0])["counts"][1] += 100


def failed_appears(plant: Lines) -> None:
    """What was refused is read."""
    refused = first(one for one in plant.history.of("publish") if one.state == "failed")
    read = first(one for one in plant.reads("posts") if one.args.get("all"))
    plant.result(read)["items"].append(shown(plant, "1", refused))


def failed_in_log(plant: Lines) -> None:
    """What was refused is in the log."""
    refused = first(one for one in plant.history.of("publish") if one.state == "failed")
    first(plant.rows())["events"][0] |= {"actor": refused.account, "key": refused.key}


def appears_twice(plant: Lines) -> None:
    """A text stands twice."""
    read = first(one for one in plant.reads("posts") if one.args.get("all"))
    items = plant.result(read)["items"]
    items.append(first(one for one in items if not one["boost"]) | {"id": "1"})


PLANTS = {
    "I1": [lost_post, lost_event, risen_post, forgotten_follow],
    "I2": [twice_done, two_ids],
    "I3": [version_gap, same_version],
    "I4": [row_missing, log_cut, event_twice],
    "I5": [home_lacks, home_twice, home_stranger, home_lacks_boost],
    "I6": [answer_without_parent, answer_to_nothing],
    "I7": [shown_to_stranger, shown_to_blocked, foreign_token],
    "I8": [own_post_missing, own_like_missing, went_back],
    "I9": [notified_twice, not_notified],
    "I11": [two_owners, other_owner, handle_gone],
    "I12": [miscounted, miscounted_followers],
    "I15": [failed_appears, failed_in_log, appears_twice],
}


def plant_all(history: History) -> None:
    """Every plant, each on a fresh copy of a history that holds."""
    good = {name: problems for name, problems in invariants.check(history).items() if problems}
    assert not good, f"the history itself breaks {good}"
    # Read anew for each plant, which is several times quicker than a deep copy.
    count, packed = 0, pickle.dumps(history.lines)
    for name, plants in PLANTS.items():
        for plant in plants:
            lines = Lines(history, pickle.loads(packed))
            plant(lines)
            problems = invariants.CHECKS[name](History(lines.lines))
            assert problems, f"{name} does not notice {plant.__name__}: {plant.__doc__}"
            count += 1
    print(f"planted violations noticed: {count} of {count}, for {', '.join(PLANTS)}; none in the history itself")


if __name__ == "__main__":
    plant_all(load(sys.argv[1]))
