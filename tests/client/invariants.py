"""The invariants of P92 over a recorded history: one function each, which lists what breaks it.

Where a history leaves open what was true (an answer was lost, two writes overlapped, a second has not passed), nothing is
demanded and nothing is forbidden. I5 has a file of its own, `homes.py`.
"""

import collections

from history import OPEN, History, Read, word
from homes import both, i5


def i1(history: History) -> list[str]:
    """I1: acknowledged ⇒ present for ever, or tombstoned by an acknowledged delete"""
    said = collections.defaultdict(set)
    for _, _, event in history.events():
        said[event["actor"], event["key"]].add((event["type"].rsplit(".", 1)[-1], event["stream"]))
    broken = []
    for one in history.of("publish", "edit"):
        kind = {"publish": "PostPublished", "edit": "PostEdited"}[one.do]
        posts = history.ids(one)
        if one.state == "acked" and not posts:
            broken.append(f"{one.key} was acknowledged without an id")
        for post in posts:
            if (kind, f"post/{post}") not in said[one.account, one.key]:
                broken.append(f"{one.do} {one.key} was acknowledged as {post} and is not in the log")
    tombs = {event["stream"] for _, _, event in history.events() if event["type"].endswith(".PostDeleted")}
    for one in history.of("delete"):
        if one.state == "acked" and f"post/{one.args['post']}" not in tombs:
            broken.append(f"delete {one.key} of {one.args['post']} was acknowledged and is not in the log")
    for read in history.reads:
        broken += _present(history, read)
    return broken


def _present(history: History, read: Read) -> list[str]:
    """What a read lacks, or shows after its end."""
    broken = []
    shown = {item["id"] for item in read.items()}
    for post in shown & history.posts.keys():
        if history.gone(post, read) == {True}:
            broken.append(f"{read.do} {read.op} shows {post}, whose delete was acknowledged")
    if read.do == "show" and read.result.get("absent"):
        post = read.args["post"]
        publish = history.posts.get(post)
        if publish and publish.ended_for(read.session) <= read.begin and _sees(history, publish, post, read) == {True}:
            broken.append(f"show {read.op}: {post} of {publish.account} is not there for {read.viewer}")
    if not read.quiet:
        return broken
    if read.do == "posts" and read.args["whom"] == read.viewer and read.args.get("all"):
        for post, publish in history.posts.items():
            if publish.account == read.viewer and post not in shown and history.gone(post, read) == {False}:
                broken.append(f"{publish.key} was acknowledged as {post} and is not among its author's posts")
    for relation in read.result.get("relations", ()):
        for flag, who, whom in (("follows", read.viewer, relation["whom"]), ("followed", relation["whom"], read.viewer)):
            may = history.follow(who, whom, read)
            if relation[flag] not in may:
                broken.append(f"{who} follows {whom}: acknowledged {may}, read {relation[flag]}")
        may = history.block(read.viewer, relation["whom"], read)
        if relation["blocks"] not in may:
            broken.append(f"{read.viewer} blocks {relation['whom']}: acknowledged {may}, read {relation['blocks']}")
    return broken


def _sees(history: History, publish, post: str, read: Read) -> set[bool]:
    """Whether the reader may see a post that he asks for by its id."""
    if history.gone(post, read) != {False}:
        return {not gone for gone in history.gone(post, read)}
    if publish.account == read.viewer:
        return {True}
    blocked = history.block(publish.account, read.viewer, read)
    if blocked != {False}:
        return {not one for one in blocked}
    return history.audience(post, read.viewer, history.follow(read.viewer, publish.account, read))


def i2(history: History) -> list[str]:
    """I2: one idempotency key ⇒ the events of at most one command"""
    found = collections.defaultdict(list)
    for row, place, event in history.events():
        if event["key"] and not event["cause"]:
            found[event["scope"], event["key"]].append((row, place, event))
    broken = []
    for (scope, key), events in found.items():
        if len({(row["service"], row["shard"], row["first"]) for row, _, _ in events}) > 1:
            broken.append(f"{key} of {scope} has events in several groups")
        elif len({(event["correlation"], event["digest"]) for _, _, event in events}) > 1:
            broken.append(f"{key} of {scope} has the events of several commands")
    for one in history.commands:
        if one.do in ("publish", "boost") and len(history.ids(one)) > 1:
            broken.append(f"{one.do} {one.key} was answered with {sorted(history.ids(one))}")
    return broken


def i3(history: History) -> list[str]:
    """I3: stream versions gapless and unique"""
    broken, last = [], collections.defaultdict(int)
    for row, place, event in sorted(history.events(), key=lambda one: (one[0]["service"], one[0]["shard"], one[1])):
        if not event["stream"]:
            continue
        stream = (row["service"], event["stream"])
        if event["version"] != last[stream] + 1:
            broken.append(f"{event['stream']}: after version {last[stream]} comes {event['version']} at {place}")
        last[stream] = event["version"]
    return broken


def i4(history: History) -> list[str]:
    """I4: seq of a shard's log gapless and unique, each event exactly once"""
    broken, logs, events = [], collections.defaultdict(list), collections.Counter()
    for row in history.rows:
        logs[row["service"], row["shard"]].append(row)
    for (service, shard), rows in logs.items():
        at = 0
        for row in sorted(rows, key=lambda row: row["first"]):
            if row["first"] != at + 1 or row["last"] != row["first"] + len(row["events"]) - 1:
                broken.append(f"{service}/{shard}: after {at} comes a row from {row['first']} to {row['last']}")
            at = row["last"]
        if at < max(row["head"] for row in rows):
            broken.append(f"{service}/{shard}: the log ends at {at}, before its head")
    for _, _, event in history.events():
        events[event["id"]] += 1
    return broken + [f"event {event} stands {count} times" for event, count in events.items() if count > 1]


def i6(history: History) -> list[str]:
    """I6: reply visible ⇒ its parent visible or tombstoned"""
    broken = []
    for read in history.reads:
        for item in read.items():
            if item["re"] and item["re"] not in history.posts and item["re"] not in history.perhaps:
                broken.append(f"{read.do} {read.op} shows {item['id']}, an answer to {item['re']}, which nobody published")
        # A post that is asked for and is not there is hidden from this reader, deleted, or it breaks I1; here it is the
        # answers that tell: a thread that shows one shows what it answers as well, unless that is hidden or deleted.
        if read.do != "thread" or read.result.get("absent"):
            continue
        there = {item["id"] for item in read.items()} | {read.args["post"]}
        for item in read.result["items"]:
            parent = history.posts.get(item["re"])
            if parent and item["re"] not in there and _sees(history, parent, item["re"], read) == {True}:
                if history.block(read.viewer, parent.account, read) == {False}:
                    broken.append(f"thread {read.op} shows {item['id']} without {item['re']}, which it answers")
    return broken


def i7(history: History) -> list[str]:
    """I7: visible ⇒ authorised at the moment of reading"""
    broken = []
    for read in history.reads:
        if read.args.get("_foreign") and not read.result.get("absent"):
            broken.append(f"{read.do} {read.op}: a token of {read.server} was taken at {read.args['_foreign']}")
        shown = {item["id"] for item in read.items()}
        shown |= {one["post"] for one in read.result.get("notes", ()) if one["post"]}
        for post in shown:
            publish = history.posts.get(post)
            if publish is None or publish.account == read.viewer:
                continue
            if history.block(publish.account, read.viewer, read) == {True}:
                broken.append(f"{read.do} {read.op} shows {post} to {read.viewer}, whom {publish.account} blocks")
            follows = history.follow(read.viewer, publish.account, read)
            if history.audience(post, read.viewer, follows) == {False}:
                broken.append(f"{read.do} {read.op} shows {post} ({publish.args['visibility']}) to {read.viewer}")
    return broken


def i8(history: History) -> list[str]:
    """I8: own writes are read, and reads never go back, within a session"""
    broken, seen = [], collections.defaultdict(int)
    versions = {
        post: [publish, *sorted(history.edits[post], key=lambda one: one.begin)] for post, publish in history.posts.items()
    }
    own = collections.defaultdict(list)
    for post, publish in history.posts.items():
        own[publish.session].append((post, publish))
    for read in history.reads:
        items = read.items()
        if read.do == "home" or (read.do == "posts" and read.args["whom"] == read.viewer):
            shown, floor = {item["id"] for item in items}, int(read.result.get("down_to", "0"))
            for post, publish in own[read.session]:
                if publish.end <= read.begin and int(post) >= floor and post not in shown:
                    if history.gone(post, read) == {False}:
                        broken.append(f"{read.do} {read.op} of {read.session} lacks its own {post}")
        for item in items:
            broken += _marks(history, read, item)
            at = _version(versions.get(item["id"], []), item["text"])
            if at is None:
                continue
            least = seen[read.session, item["id"]]
            for index, one in enumerate(versions[item["id"]]):
                if one.session == read.session and one.end <= read.begin:
                    least = max(least, index)
            if at < least:
                broken.append(f"{read.do} {read.op} of {read.session} shows version {at} of {item['id']} after {least}")
            seen[read.session, item["id"]] = max(at, least)
    return broken + _vanished(history)


def _version(commands: list, text: str) -> int | None:
    return next((index for index, one in enumerate(commands) if word(one.args["status"]) == word(text)), None)


def _marks(history: History, read: Read, item: dict) -> list[str]:
    """Own likes and boosts, which nobody else changes."""
    broken = []
    if item["boost"] is None and item["liked"] is not None and item["id"] in history.posts:
        for flag, commands, name in (("liked", history.likes, "like"), ("boosted", history.boosts, "boost")):
            may = history.may(commands[read.viewer, item["id"]], {name}, read.begin, read.end, read.session)
            if item[flag] not in may:
                broken.append(f"{read.do} {read.op} of {read.session}: {flag} of {item['id']} is {item[flag]}, done {may}")
    return broken


def _vanished(history: History) -> list[str]:
    """Posts that a session saw and then, asking the same again, did not, though nothing can have taken them away."""
    broken, seen, relations = [], collections.defaultdict(dict), collections.defaultdict(list)
    for one in history.of("follow", "unfollow", "block", "unblock"):
        for account in {one.account, one.args["whom"]}:
            relations[account].append(one)
    for read in history.reads:
        if read.do not in ("home", "posts", "show"):
            continue
        place = (read.session, read.do, read.args.get("whom") or read.args.get("post"))
        shown = {item["id"] for item in read.result.get("items", ()) if not item["boost"]}
        if "item" in read.result:
            shown.add(read.result["item"]["id"])
        floor = int(read.result.get("down_to", "0"))
        moved = [one.end for one in relations[read.viewer] if one.begin < read.end]
        still = max(moved, default=0.0)
        for post, since in seen[place].items():
            if post in shown or int(post) < floor or since < still + 1.0:
                continue
            if any(one.begin < read.end for one in history.deletes[post]):
                continue
            broken.append(f"{read.do} {read.op} of {read.session} lacks {post}, which it saw before")
        seen[place] |= {post: read.begin for post in shown & history.posts.keys() if post not in seen[place]}
    return broken


CAUSES = {"favourite": ("like", "unlike"), "reblog": ("boost", "unboost")}


def i9(history: History) -> list[str]:
    """I9: one notification per recipient and cause"""
    broken = []
    for read in history.reads:
        if read.do != "notifications":
            continue
        told, notes = f"notifications {read.op} of {read.viewer}", read.result["notes"]
        for number, count in collections.Counter(one["id"] for one in notes).items():
            if count > 1:
                broken.append(f"{told}: {number} stands {count} times")
        causes = collections.Counter((one["type"], one["by"], one["post"]) for one in notes)
        for (kind, by, post), count in causes.items():
            if count > _most(history, read.viewer, kind, by, post):
                broken.append(f"{told}: {kind} by {by} of {post} stands {count} times")
        if read.quiet and read.args.get("all"):
            broken += [f"{told} lacks {cause}" for cause in _due(history, read) if cause not in causes]
    return broken


def _most(history: History, viewer: str, kind: str, by: str, post: str | None) -> int:
    """How often a cause can have happened: once, and once more for each time that it was taken back."""
    if kind == "mention":
        return 1
    if kind == "follow":
        commands, done = history.follows[by, viewer], "follow"
    elif kind in CAUSES:
        commands, done = (history.likes if kind == "favourite" else history.boosts)[by, post], CAUSES[kind][0]
    else:
        return 1
    deeds = sum(one.do == done for one in commands)
    return min(deeds, 1 + sum(one.do != done for one in commands))


def _due(history: History, read: Read) -> list[tuple]:
    """Causes that certainly stand at the end, between two who never blocked each other."""
    viewer, due = read.viewer, []
    strangers = {one for one in history.accounts if history.blocks[one, viewer] or history.blocks[viewer, one]} | {viewer}
    for post, publish in history.posts.items():
        if history.gone(post, read) != {False}:
            continue
        if history.names(post, viewer) == {True} and publish.account not in strangers | {viewer}:
            due.append(("mention", publish.account, post))
        if publish.account == viewer:
            for kind, (done, _) in CAUSES.items():
                table = history.likes if kind == "favourite" else history.boosts
                for other in set(history.accounts) - strangers:
                    if history.may(table[other, post], {done}, read.begin, read.end, read.session) == {True}:
                        due.append((kind, other, post))
    due += [("follow", one, None) for one in set(history.accounts) - strangers if history.follow(one, viewer, read) == {True}]
    return due


def i11(history: History) -> list[str]:
    """I11: a handle has at most one owner, linearizable"""
    broken, owners, since = [], collections.defaultdict(set), {}
    winners = collections.defaultdict(list)
    for one in history.of("signup"):
        if one.state == "acked":
            winners[one.server, one.args["username"].lower()].append(one)
    for name, won in winners.items():
        if len(won) > 1:
            broken.append(f"{name} was given to {[one.key for one in won]}")
    for read in history.reads:
        if read.do not in ("lookup", "whoami") or read.args.get("_foreign"):
            continue
        name = (read.server, (read.args.get("acct") or read.result.get("handle") or "").lower())
        if read.result.get("absent"):
            known = [one.end for one in winners[name]] + ([since[name]] if name in since else [])
            if any(at <= read.begin for at in known):
                broken.append(f"{read.do} {read.op}: {name} is given and is not there")
            continue
        owners[name].add(read.result["account"])
        since[name] = min(since.get(name, read.end), read.end)
    broken += [f"{name} belongs to {sorted(found)}" for name, found in owners.items() if len(found) > 1]
    return broken


def i12(history: History) -> list[str]:
    """I12: counters = recount"""
    broken = []
    for read in (read for read in history.reads if read.quiet):
        told = f"{read.do} {read.op}"
        for item in read.items():
            post = item["id"]
            if item["boost"] or post not in history.posts or history.gone(post, read) != {False}:
                continue
            for name, found, states in zip(("likes", "boosts", "replies"), item["counts"], _recount(history, post, read)):
                certain, possible = sum(one == {True} for one in states.values()), sum(True in one for one in states.values())
                if not certain <= found <= possible:
                    broken.append(f"{told}: {post} has {found} {name}, counted anew {certain} to {possible}")
        if read.do in ("likers", "boosters") and not read.result.get("absent"):
            states = _recount(history, read.args["post"], read)[read.do == "boosters"]
            listed = set(read.result["accounts"])
            # Whom the reader blocks, or who blocks him, is left out of the list; likewise all, where the post is hidden.
            hidden = {one for one in states if {True} & (history.block(one, read.viewer, read) | history.block(read.viewer, one, read))}
            sees = _sees(history, history.posts[read.args["post"]], read.args["post"], read) == {True}
            certain = {one for one, state in states.items() if state == {True}} - hidden if sees else set()
            if not certain <= listed <= {one for one, state in states.items() if True in state}:
                broken.append(f"{told} of {read.args['post']}: {sorted(listed)}, counted anew {sorted(certain)}")
        if read.do == "account" and read.args["whom"] == read.viewer:
            broken += _account_counts(history, read, told)
    return broken


def _recount(history: History, post: str, read: Read) -> list[dict]:
    """Who likes it, who boosts it, what answers it, each with whether it stands."""

    def standing(who: dict, done: str) -> dict:
        return {one: history.may(commands, {done}, read.begin, read.end, read.session) for one, commands in who.items()}

    replies = {
        reply: {not gone for gone in history.gone(reply, read)}
        for reply in history.replies.get(post, ())
        if history.posts[reply].args["visibility"] in OPEN
    }
    return [standing(history.likers.get(post, {}), "like"), standing(history.boosters.get(post, {}), "boost"), replies]


def _account_counts(history: History, read: Read, told: str) -> list[str]:
    me, broken = read.viewer, []
    stands = [
        {not gone for gone in history.gone(post, read)}
        for post, publish in history.posts.items()
        if publish.account == me and publish.args["visibility"] != "direct"
    ]
    stands += [
        both([history.may(commands, {"boost"}, read.begin, read.end, read.session), {not gone for gone in history.gone(post, read)}])
        for (booster, post), commands in history.boosts.items()
        if booster == me and post in history.posts
    ]
    others = [one for one in history.accounts if one != me]
    counted = [stands, [history.follow(one, me, read) for one in others], [history.follow(me, one, read) for one in others]]
    for name, found, states in zip(("posts", "followers", "followed"), read.result["counts"], counted):
        certain, possible = sum(one == {True} for one in states), sum(True in one for one in states)
        if not certain <= found <= possible:
            broken.append(f"{told}: {me} has {found} {name}, counted anew {certain} to {possible}")
    return broken


def i15(history: History) -> list[str]:
    """I15: what definitely failed never appears; what is unknown appears at most once"""
    broken, places = [], collections.defaultdict(set)
    for read in history.reads:
        for item in read.items():
            if item["boost"]:
                continue
            places[word(item["text"])].add(item["id"])
    for text, posts in places.items():
        one = history.by_word.get(text)
        if one is None:
            broken.append(f"{sorted(posts)} shows {text!r}, which nobody wrote")
        elif one.state == "failed":
            broken.append(f"{one.do} {one.key} was refused and stands as {sorted(posts)}")
        elif len(posts) > 1:
            broken.append(f"{one.do} {one.key} ({one.state}) stands {len(posts)} times: {sorted(posts)}")
        elif one.do == "publish" and history.ids(one) and posts != history.ids(one):
            broken.append(f"publish {one.key} was answered {sorted(history.ids(one))} and stands as {sorted(posts)}")
    refused = {(one.account, one.key): one for one in history.commands if one.state == "failed" and one.account}
    for _, place, event in history.events():
        one = refused.get((event["actor"], event["key"]))
        if one:
            broken.append(f"{one.do} {one.key} was refused and has {event['type']} at {place} of its log")
    return broken


CHECKS = {"I1": i1, "I2": i2, "I3": i3, "I4": i4, "I5": i5, "I6": i6, "I7": i7, "I8": i8, "I9": i9, "I11": i11, "I12": i12, "I15": i15}


def check(history: History) -> dict[str, list[str]]:
    """What breaks each invariant; nothing where all hold."""
    return {name: judge(history) for name, judge in CHECKS.items()}
