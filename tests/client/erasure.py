"""What is left of somebody who was erased: nothing, in the running server, on its disk, in views that are built again.

Canaries are random words. One person plants them in everything personal and is erased; a neighbour plants as many and
stays. The data directory is read as raw bytes, with the engine's compression off. A copy from before is opened with the
key file as it is after the next rotation, and beside it with the one that it was made with.
"""

import argparse
import base64
import json
import pathlib
import random
import shutil
import tempfile
import time
import urllib.parse

from node import Node, call

PLAIN = "[store]\ncompression = false\n"
# Erasure may take this long to reach the last copy on the disk.
PATIENCE = 60.0


class Person:
    """An account full of canaries: where each was planted, and how the person reads it back."""

    def __init__(self, node: Node, chance: random.Random, name: str):
        self.node, self.chance, self.canaries = node, chance, {}
        self.handle = name
        word = self.plant
        node.cli("account", "create", name, "--email", f"{word('email')}@{word('mail host')}.example",
                 "--password", "a long password")
        app = json.loads(node.cli("app", "create", "--name", "tests", "--json"))
        self.token = node.cli("token", "create", "--account", name, "--app", app["app"]["clientId"])
        profile = {
            "display_name": word("display name"), "note": f"about {word('note')}",
            "fields_attributes[0][name]": word("field name"), "fields_attributes[0][value]": word("field value"),
        }
        self.ask("/api/v1/accounts/update_credentials", profile, method="PATCH")
        post = {"status": f"{word('text')} #{word('tag')}", "spoiler_text": word("content warning"), "language": "en"}
        self.post = self.ask("/api/v1/statuses", post)["id"]
        self.write("unlisted text", visibility="unlisted")
        self.write("followers text", visibility="private")
        self.write("direct text", visibility="direct")
        self.write("reply", in_reply_to_id=self.post)
        edited = self.write("text before its edit")
        self.ask(f"/api/v1/statuses/{edited}", {"status": word("text after its edit")}, method="PUT")
        gone = self.write("deleted text")
        self.ask(f"/api/v1/statuses/{gone}", method="DELETE")

    def plant(self, where: str) -> str:
        self.canaries[where] = "".join(self.chance.choices("bcdfghjklmnpqrstvwxz", k=24))
        return self.canaries[where]

    def write(self, where: str, **more) -> str:
        return self.ask("/api/v1/statuses", {"status": self.plant(where), **more})["id"]

    def ask(self, path: str, form: dict | None = None, method: str = ""):
        status, _, answer = call(self.node.url + path, self.token, form, method)
        assert status == 200, (path, status, answer)
        return answer

    def readable(self, node: Node) -> set[str]:
        """Which canaries the doors of a server give: to the person, to strangers, to the operator."""
        told = []
        for path in ("accounts/verify_credentials", "timelines/home", "timelines/public", f"statuses/{self.post}",
                     f"statuses/{self.post}/context", f"accounts/lookup?acct={self.handle}", "notifications"):
            for token in (self.token, ""):
                told.append(json.dumps(call(f"{node.url}/api/v1/{path}", token)[2] or "", default=repr))
        for tag in (self.canaries["tag"],):
            told.append(json.dumps(call(f"{node.url}/api/v1/timelines/tag/{tag}")[2] or "", default=repr).replace(tag, ""))
            told.append(json.dumps(call(f"{node.url}/api/v1/statuses/{self.post}", self.token)[2] or "", default=repr))
        told += operator(node, "account", "show", self.handle, "--json")
        told += operator(node, "account", "list", "--json")
        text = "\n".join(told).lower()
        return {where for where, word in self.canaries.items() if word in text}


def operator(node: Node, *words: str) -> list[str]:
    """What a command prints; nothing if it fails, for what is gone cannot be shown."""
    try:
        return [node.cli(*words)]
    except RuntimeError:
        return []


def everything(node: Node) -> bytes:
    """Every log and every table, as the operator sees them."""
    told = operator(node, "events", "log")
    for table in json.loads(node.cli("table", "list", "--json"))["tables"]:
        told += operator(node, "table", "scan", table["name"], "--limit", "100000")
    return "\n".join(told).encode()


def spellings(word: str) -> list[bytes]:
    """How a word may lie in a file: as it is, in wide characters, in base64 at each offset, in hexadecimal."""
    plain = word.encode()
    out = [plain, plain.upper(), word.encode("utf-16-le"), word.encode("utf-16-be"), plain.hex().encode()]
    for offset in range(3):
        coded = base64.b64encode(b"\0" * offset + plain)
        out.append(coded[4 if offset else 0:-4])
    return out


def found(folder: pathlib.Path, canaries: dict[str, str]) -> dict[str, str]:
    """Where canaries lie in any file below a folder."""
    places = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            raw = file.read_bytes()
        except FileNotFoundError:
            continue
        for where, word in canaries.items():
            if any(one in raw for one in spellings(word)):
                places[where] = str(file.relative_to(folder))
    return places


def control(chance: random.Random) -> None:
    """The search itself finds what it must, in each spelling."""
    word = "".join(chance.choices("bcdfghjklmnpqrstvwxz", k=24))
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder) / "file"
        wrapped = base64.b64encode(b"some" + word.encode() + b"more")
        for content in (word.encode(), word.upper().encode(), word.encode("utf-16-le"), wrapped):
            place.write_bytes(b"\x00\xff" * 1000 + content + b"\x00" * 1000)
            assert found(pathlib.Path(folder), {"it": word}), content
        place.write_bytes(b"\x00" * 5000)
        assert not found(pathlib.Path(folder), {"it": word})


def rebuild_all(node: Node) -> int:
    views = json.loads(node.cli("view", "list", "--json"))["views"]
    for view in views:
        node.cli("view", "rebuild", view["name"], "--verify")
    return len(views)


def nothing_left(node: Node, person: Person, when: str) -> None:
    """Neither doors nor logs, tables or files hold a canary."""
    left = found(node.data, person.canaries)
    assert not left, f"{when}: {left}"
    left = person.readable(node)
    assert not left, f"{when}: the doors give {left}"
    told = everything(node)
    left = {where for where, word in person.canaries.items() if any(one in told for one in spellings(word))}
    assert not left, f"{when}: logs or tables give {left}"


def erase(node: Node, person: Person) -> float:
    """Erases, and waits until nothing is left; how long that took."""
    began = time.monotonic()
    node.cli("account", "erase", person.handle, "--yes")
    while True:
        left = person.readable(node) or found(node.data, person.canaries)
        took = time.monotonic() - began
        if not left:
            return took
        assert took < PATIENCE, f"after {took:.0f} s: {left}"
        time.sleep(0.2)


def copies(folder: pathlib.Path, copy: pathlib.Path, keys_then: pathlib.Path, keys_now: pathlib.Path, person: Person):
    """A copy from before gives nothing with the key file of today, and everything with the one that it was made with."""
    for keys, expected in ((keys_now, False), (keys_then, True)):
        place = folder / f"copy-{expected}" / "data"
        place.parent.mkdir()
        shutil.copytree(copy, place)
        node = Node(place, flags=("--keys", str(keys)), more=PLAIN)
        try:
            readable = person.readable(node)
            if expected:
                missing = set(person.canaries) - readable - UNREADABLE
                assert not missing, f"the copy with its own key file does not give {missing}"
            else:
                nothing_left(node, person, "a copy with the key file of today")
        finally:
            node.stop()


# What no door gives back even to its owner, or what this person's doors do not show: seen only by its absence.
UNREADABLE = {"mail host", "deleted text", "text before its edit"}


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--seed", type=int, default=None, help="of the canaries; another one each time if not given")
    seed = flags.parse_args().seed
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    chance = random.Random(seed)
    control(chance)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        node = Node(folder / "data", more=PLAIN)
        keys = folder / "data.keys"
        try:
            person, neighbour = Person(node, chance, "erased"), Person(node, chance, "neighbour")
            port = urllib.parse.urlparse(node.url).port
            before = person.readable(node)
            assert not set(person.canaries) - before - UNREADABLE, set(person.canaries) - before
            planted = neighbour.readable(node)
            node.stop()
            copy, keys_then = folder / "copy", folder / "copy.keys"
            shutil.copytree(node.data, copy, symlinks=True, ignore=shutil.ignore_patterns("*.sock", "*socket*"))
            shutil.copy(keys, keys_then)
            node = Node(folder / "data", port, more=PLAIN)
            person.node = neighbour.node = node
            took = erase(node, person)
            nothing_left(node, person, "after the erasure")
            views = rebuild_all(node)
            nothing_left(node, person, f"after {views} views were rebuilt")
            node.stop()
            node = Node(folder / "data", port, more=PLAIN)
            nothing_left(node, person, "after a restart")
            assert neighbour.readable(node) == planted, "the neighbour lost something"
            node.cli("keys", "rotate")
            assert neighbour.readable(node) == planted, "the neighbour lost something by the rotation"
            keys_now = folder / "today.keys"
            shutil.copy(keys, keys_now)
            copies(folder, copy, keys_then, keys_now, person)
        except BaseException:
            print(f"seed {seed}\n" + open(node.log.name, errors="replace").read()[-3000:])
            raise
        finally:
            node.stop()
    print(f"erasure: {len(person.canaries)} canaries gone after {took:.1f} s, from {views} views built again, after a "
          f"restart, from a copy with today's keys; there with its own; seed {seed}")


if __name__ == "__main__":
    main()
