"""A backup under load, restored into an empty directory: what was acknowledged before it is there, and damage is refused.

    tests/client/run backup [--writes 1000] [--seed 1]

People on two servers write; in the midst `p92 backup` runs. Then the server ends, and the backup is restored beside it.
Everything that was acknowledged before the backup began is asked for, with the tokens of before, and what was undone, ended
or deleted must be so; repeats under their keys give the same posts; every view equals its rebuild; and everybody works on.
Beside each planted damage the same restore without it succeeds.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import tempfile

from history import load, word
from node import Node, binary
from record import Recorder, Session
from workload import UNDOES, Stage

# Undoes what these do; whoever did one of both while the backup ran may find either.
OPPOSITE = {deed: undo for undo, deed in UNDOES.items()}
# Where it is read which of both was done last.
MARKS, RELATIONS = {"like": "liked", "boost": "boosted"}, {"follow": "follows", "block": "blocks"}
# What is asked for, each of which must have been there. `blocks` counts those that ended as well, of which there are few.
KINDS = ("posts", "tombstones", "marks", "follows", "blocks", "undone", "sign-ups", "repeats")


def run(*words: str) -> subprocess.CompletedProcess:
    # P92_BIN is ours; commands that read the settings take every variable of that kind for one.
    surroundings = {name: value for name, value in os.environ.items() if name != "P92_BIN"}
    return subprocess.run([binary(), *words], capture_output=True, text=True, check=False, env=surroundings)


def work(stage: Stage, writes: int, take) -> dict:
    """Everybody writes, with the backup in the midst, which `take` runs; what the backup says of itself."""
    # Nobody rotates keys meanwhile: that is refused, and told.
    begun = stage.begin(operate=False)
    for _ in range(writes // 2):
        assert stage.world.acked.acquire(timeout=60), "nothing was acknowledged for a minute"
    stage.recorder.write("backup", phase="begins")
    done = take()
    stage.recorder.write("backup", phase="ended")
    assert done.returncode == 0, done.stderr
    for _ in range(writes // 2):
        assert stage.world.acked.acquire(timeout=60), "nothing was acknowledged for a minute"
    stage.world.enough.set()
    for one in begun:
        one.join()
    return json.loads(done.stdout.splitlines()[-1])


class Expected:
    """What a history says must be there, of what was acknowledged before a moment.

    A history may have several lives: `restored` begins one that knows only what the backup of the life before holds.
    """

    def __init__(self, lines: list[dict], phase: str = "begins"):
        backups = [line for line in lines if line["is"] == "backup"]
        moments, over = ([line["mono"] for line in backups if line["phase"] == one] for one in (phase, "ended"))
        ends = {line["op"]: line for line in lines if line["is"] in ("ok", "fail", "unknown")}
        self.done, self.perhaps, known, life = [], [], set(), 0
        for line in lines:
            life += line["is"] == "backup" and line["phase"] == "restored"
            if line["is"] != "invoke" or not line["key"]:
                continue
            end, key = ends.get(line["op"]), (line["session"], line["key"])
            if end and end["is"] == "ok" and end["mono"] < moments[life]:
                # A repeat does nothing more.
                if key not in known:
                    known.add(key)
                    self.done.append((line | {"life": life}, end["result"]))
            elif (not end or end["is"] != "fail") and line["mono"] < over[life]:
                # It may have come before the positions, after them, or not at all. What was begun when the backup had ended
                # is not in it.
                self.perhaps.append(line | {"life": life})

    def last(self, actor: str, about: str, names: set[str]) -> str | None:
        """The last of these that an actor did about a post or account; none if one of them was open meanwhile."""
        last = next((line for line, _ in reversed(self.done) if self._is(line, actor, about, names)), None)
        # What was open in an earlier life was done before it ended, or never.
        if last is None or any(self._is(line, actor, about, names) and line["life"] >= last["life"] for line in self.perhaps):
            return None
        return last["do"]

    def did(self, actor: str, about: str, deed: str) -> bool:
        """Whether an actor did this once, whatever came after it."""
        return any(self._is(line, actor, about, {deed}) for line, _ in self.done)

    @staticmethod
    def _is(line: dict, actor: str, about: str, names: set[str]) -> bool:
        return line["do"] in names and line["account"] == actor and about in (line["args"].get("post"), line["args"].get("whom"))

    def deleted(self, post: str) -> str:
        """Whether a post was deleted before: `yes`, `no`, `perhaps`."""
        if any(line["do"] == "delete" and line["args"]["post"] == post for line, _ in self.done):
            return "yes"
        if any(line["do"] == "delete" and line["args"]["post"] == post for line in self.perhaps):
            return "perhaps"
        return "no"

    def words(self, post: str, first: str) -> set[str]:
        """How the post may begin: as its last edit, and as edits that were open meanwhile."""
        edits = [line["args"]["status"] for line, _ in self.done if line["do"] == "edit" and line["args"]["post"] == post]
        later = [line["args"]["status"] for line in self.perhaps if line["do"] == "edit" and line["args"]["post"] == post]
        return {word(text) for text in [edits[-1] if edits else first, *later]}

    def ended(self, one: str, other: str) -> bool:
        """Whether a block may have ended what was between two."""
        pair = {one, other}
        lines = [line for line, _ in self.done] + self.perhaps
        return any(line["do"] == "block" and {line["account"], line["args"]["whom"]} == pair for line in lines)


def check(stage: Stage, expected: Expected) -> dict[str, int]:
    """Asks the restored server for everything; how many of each kind were found."""
    sessions = {one.account: one for one in stage.people}
    posts = {result["item"]["id"]: (line, result) for line, result in expected.done if line["do"] == "publish"}
    found = dict.fromkeys(KINDS, 0)
    for post, (line, result) in posts.items():
        session, deleted = sessions[line["account"]], expected.deleted(post)
        how, shown, _ = session.do("show", post=post)
        assert how == "ok", (post, shown)
        if deleted == "yes":
            assert shown.get("absent"), f"the deleted post {post} is back"
            found["tombstones"] += 1
        elif deleted == "no":
            assert not shown.get("absent"), f"the post {post} is lost: {line}"
            text, allowed = word(shown["item"]["text"]), expected.words(post, line["args"]["status"])
            assert text in allowed, f"the post {post} says {text}, not one of {allowed}"
            found["posts"] += 1
            again = session.do("publish", line["key"], line["op"], **line["args"])
            assert again[0] == "ok" and again[1]["item"]["id"] == post, f"{line['key']} made another post: {again}"
            found["repeats"] += 1
    for line, result in expected.done:
        if line["do"] == "signup":
            fresh = Session(stage.recorder, line["key"], line["server"], result["token"])
            fresh.reach(stage.port, stage.hosts[line["server"]])
            assert fresh.do("whoami", _signup=line["key"])[0] == "ok", f"the sign-up {line['key']} is lost"
            found["sign-ups"] += 1
    for deed, actor, about in (pair for pair in deeds(expected) if pair[0] in RELATIONS):
        last = expected.last(actor, about, {deed, OPPOSITE[deed]})
        if last is None or last == "follow" and expected.ended(actor, about):
            continue
        how, told, _ = sessions[actor].do("relationships", **{"id[]": [about]})
        assert how == "ok", f"{actor} is not told what he is to {about}: {told}"
        stands = told["relations"][0][RELATIONS[deed]]
        assert stands == (last == deed), f"{actor} did {last} to {about} last, and is told {stands}"
        found["blocks" if deed == "block" else "follows"] += deed == "block" or stands
        found["undone"] += not stands and expected.did(actor, about, deed)
    for deed, actor, about in (pair for pair in deeds(expected) if pair[0] in MARKS):
        last = expected.last(actor, about, {deed, OPPOSITE[deed]})
        if last is None or expected.deleted(about) != "no":
            continue
        how, shown, _ = sessions[actor].do("show", post=about)
        assert how == "ok", f"{actor} is not shown {about}: {shown}"
        # Whoever was blocked since does not see it, and no mark.
        if not shown.get("absent"):
            stands = shown["item"][MARKS[deed]]
            assert stands == (last == deed), f"{actor} did {last} to {about} last, and is told {stands}"
            found["marks"] += stands
            found["undone"] += not stands and expected.did(actor, about, deed)
    return found


def deeds(expected: Expected) -> list[tuple[str, str, str]]:
    """(what can be undone, who did or undid it, to whom or what), each once."""
    done = (line for line, _ in expected.done if line["do"] in OPPOSITE or line["do"] in UNDOES)
    return list(dict.fromkeys(
        (UNDOES.get(line["do"], line["do"]), line["account"], line["args"].get("post") or line["args"]["whom"]) for line in done
    ))


def enough(found: dict[str, int]) -> dict[str, int]:
    """What was found, if that is enough to show anything."""
    assert min(found.values()) > 0, f"too little was asked for: {found}"
    return found


def planted(stage: Stage, lines: list[dict]) -> None:
    """A post that was acknowledged after the backup is not in it: told that it was before, the check must say so."""
    expected, later = Expected(lines), Expected(lines + [{"is": "backup", "phase": "planted", "mono": float("inf")}], "planted")
    known = {line["op"] for line, _ in expected.done}
    ended = next(line["mono"] for line in lines if line["is"] == "backup" and line["phase"] == "ended")
    late = [one for one in later.done if one[0]["op"] not in known and one[0]["do"] == "publish" and one[0]["mono"] > ended]
    late = [one for one in late if later.deleted(one[1]["item"]["id"]) == "no"]
    expected.done = [late[0]]
    try:
        check(stage, expected)
    except AssertionError as lost:
        assert "is lost" in str(lost), lost
        return
    raise AssertionError("the check did not notice a post that is not there")


def restored(folder: pathlib.Path, place: pathlib.Path, keys: pathlib.Path, *flags: str) -> subprocess.CompletedProcess:
    return run("restore", str(place), "--data", str(folder / "data"), "--keys", str(keys), "--json", *flags)


def damage(folder: pathlib.Path, place: pathlib.Path, keys: pathlib.Path, chance: random.Random) -> int:
    """Planted damage is refused and leaves nothing; how many kinds."""
    foreign = folder / "foreign.keys"
    lines = keys.read_text().splitlines()
    foreign.write_text("\n".join("installation " + "0" * 32 if one.startswith("installation") else one for one in lines) + "\n")
    files = [path.name for path in sorted(place.iterdir())]

    def flip(path: pathlib.Path):
        raw = bytearray(path.read_bytes())
        raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        path.write_bytes(raw)

    def cut(path: pathlib.Path):
        raw = path.read_bytes()
        path.write_bytes(raw[: chance.randrange(len(raw))])

    def newer(path: pathlib.Path):
        path.write_text(path.read_text().replace("format 1\n", "format 2\n"))

    spoils = [(name, spoil) for name in files for spoil in (flip, cut, pathlib.Path.unlink)] + [("p92-backup", newer)]
    for number, (name, spoil) in enumerate(spoils):
        here = folder / f"damage-{number}"
        shutil.copytree(place, here / "backup")
        spoil(here / "backup" / name)
        refused = restored(here, here / "backup", keys)
        assert refused.returncode != 0 and "what to do" in refused.stderr, (name, spoil, refused)
        assert "nothing was written" in refused.stderr, refused.stderr
        assert not (here / "data").exists() and not (here / "data.restoring").exists(), "something was written"
        shutil.rmtree(here)
    here = folder / "refusals"
    (here / "data").mkdir(parents=True)
    (here / "data" / "mine").write_text("mine")
    for words, given in (("is not empty", keys), ("installation", foreign), ("is missing", folder / "no.keys")):
        if given is not keys:
            shutil.rmtree(here / "data", ignore_errors=True)
        before = sorted(path.name for path in here.iterdir())
        refused = restored(here, place, given)
        assert refused.returncode != 0 and words in refused.stderr and "what to do" in refused.stderr, refused
        assert sorted(path.name for path in here.iterdir()) == before, "something was written"
    return len(spoils) + 3


def rotated(folder: pathlib.Path, node: Node, place: pathlib.Path, keys: pathlib.Path) -> None:
    """After the next rotation the live key file opens the backup no more; the one of then does."""
    node.cli("keys", "rotate")
    live = node.data.parent / "data.keys"
    here = folder / "rotated"
    here.mkdir()
    refused = restored(here, place, live)
    assert refused.returncode != 0 and "cannot open" in refused.stderr and not (here / "data").exists(), refused
    taken = restored(here, place, live, "--accept-unreadable")
    assert taken.returncode == 0 and json.loads(taken.stdout.splitlines()[-1])["unreadable"] > 0, taken


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--writes", type=int, default=1000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments = arguments.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        recorder = Recorder(folder / "history.jsonl")
        (folder / "before").mkdir()
        stage = Stage(folder / "before", recorder, arguments.seed)
        place, keys = folder / "backup", folder / "copy.keys"
        try:
            take = lambda: run("backup", str(place), "--data", str(stage.node.data), "--json")
            said = work(stage, arguments.writes, take)["manifest"]
            shutil.copy(folder / "before" / "data.keys", keys)
            assert not any(b"rotating" in path.read_bytes() for path in place.iterdir()), "a key file is in the backup"
            kinds = damage(folder, place, keys, chance)
            rotated(folder, stage.node, place, keys)
            assert stage.node.stop() == 0
            here = folder / "after"
            here.mkdir()
            done = restored(here, place, keys)
            assert done.returncode == 0, done.stderr
            stage.folder = here
            stage.node = Node(here / "data", stage.port, flags=("--keys", str(keys)))
            stage.reach()
            recorder.file.flush()
            lines = load(str(recorder.path)).lines
            expected = Expected(lines)
            found = check(stage, expected)
            planted(stage, lines)
            rows = stage.rebuild_all()
            stage.work(100)
            again = stage.rebuild_all()
            assert stage.node.stop() == 0
        except BaseException:
            print(open(stage.node.log.name, errors="replace").read()[-3000:])
            stage.node.process.kill()
            raise
        finally:
            recorder.close()
    enough(found)
    print(f"backup: {said['events']} events and {said['rows']} rows of state taken under load; {len(expected.done)} writes "
          f"acknowledged before it, of them found {found}; {len(stage.views)} views equal in {rows} rows, after 100 writes more "
          f"in {again}; {kinds} kinds of damage refused; seed {arguments.seed}")


if __name__ == "__main__":
    main()
