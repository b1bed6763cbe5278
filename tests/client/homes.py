"""I5 over a recorded history: what may and must stand in a home.

The rules of homes are in `services/timelines/src/domain/home.rs`; they are said here once more, in another language and
from what clients were told alone.
"""

import collections

from history import OPEN, History, Read


class Home:
    """What may and must stand in one home that was read."""

    def __init__(self, history: History, read: Read):
        self.history, self.read, self.viewer = history, read, read.viewer
        everyone = [one for one in history.accounts if one != read.viewer]
        self.follows = {one: history.follow(read.viewer, one, read) for one in everyone}
        self.avoids = {one: history.block(read.viewer, one, read) for one in everyone}
        self.barred = {one: self.avoids[one] | history.block(one, read.viewer, read) for one in everyone}

    def visible(self, post: str) -> set[bool]:
        """Whether anything may show the post here."""
        publish = self.history.posts[post]
        states = [{not gone for gone in self.history.gone(post, self.read)}]
        if publish.account != self.viewer:
            states.append({not barred for barred in self.barred[publish.account]})
            states.append(self.history.audience(post, self.viewer, self.follows[publish.account]))
            named = [one for one in self.history.named[post][1] if one not in (self.viewer, publish.account)]
            states += [self._bearable(post, one) for one in named]
        return both(states)

    def _bearable(self, post: str, named: str) -> set[bool]:
        """Whether the reader does not mind that the post names somebody."""
        states = {not avoids for avoids in self.avoids[named]}
        return states if self.history.names(post, named) == {True} else states | {True}

    def place(self, post: str) -> set[bool]:
        """Whether the post stands in its own right."""
        publish = self.history.posts[post]
        states = [self.visible(post)]
        if publish.account != self.viewer:
            states.append(self.follows[publish.account])
            answered = self.history.posts.get(publish.args.get("in_reply_to_id"))
            if answered and answered.account not in (self.viewer, publish.account):
                states.append(self.follows[answered.account])
        return both(states)

    def known(self, command) -> bool:
        """Whether it was acknowledged in time for this read."""
        return command.state == "acked" and command.ended_for(self.read.session) <= self.read.begin


def both(states: list[set[bool]]) -> set[bool]:
    """What all together may be."""
    if {False} in states:
        return {False}
    return {True} if all(state == {True} for state in states) else {True, False}


def i5(history: History) -> list[str]:
    """I5: home = the posts and boosts of the accounts followed now, past included, that the reader may see, each once"""
    broken = []
    for read in history.reads:
        if read.do != "home":
            continue
        home, told = Home(history, read), f"home {read.op} of {read.viewer}"
        items = read.result["items"]
        shown = collections.Counter(item["boost"]["id"] if item["boost"] else item["id"] for item in items)
        broken += [f"{told} has {post} {count} times" for post, count in shown.items() if count > 1]
        for item in items:
            post = item["boost"]["id"] if item["boost"] else item["id"]
            if post in history.perhaps:
                continue
            if post not in history.posts:
                broken.append(f"{told} has {post}, which nobody published")
            elif item["boost"] is None and home.place(post) == {False}:
                broken.append(f"{told} has {post} of {item['by']}, which has no place in it")
            elif item["boost"] and (
                (item["by"] != read.viewer and home.follows[item["by"]] == {False}) or home.visible(post) == {False}
            ):
                broken.append(f"{told} has the boost {item['id']} by {item['by']}, which has no place in it")
        for post in history.posts_above(read.result["down_to"]):
            publish = history.posts[post]
            if post not in shown and home.known(publish) and home.place(post) == {True}:
                broken.append(f"{told} lacks {post} of {publish.account}")
        if read.result["down_to"] == "0":
            broken += _boosts_lacking(history, home, set(shown), told)
    return broken


def _boosts_lacking(history: History, home: Home, shown: set[str], told: str) -> list[str]:
    broken = []
    for (booster, post), commands in history.boosts.items():
        publish = history.posts.get(post)
        if publish is None or post in shown or not all(home.known(one) for one in commands if one.state == "acked"):
            continue
        wanted = {True} if booster == home.viewer else both([home.follows[booster], {not one for one in home.barred[booster]}])
        stands = history.may(commands, {"boost"}, home.read.begin, home.read.end, home.read.session)
        passed = {publish.args["visibility"] in OPEN or booster == publish.account}
        if both([wanted, stands, passed, home.visible(post)]) == {True}:
            broken.append(f"{told} lacks {post}, boosted by {booster}")
    return broken
