"""kill -9 under load: what was acknowledged is there once, what was not is there at most once, and a repeat settles it.

    tests/client/run kill [--kills 50] [--seed N] [--start-within 2]

Each round starts the server on the same data, lets writers post with idempotency keys, kills it at a random moment,
starts it again and repeats every request whose answer was lost with its key.
"""

import argparse
import http.client
import pathlib
import random
import subprocess
import tempfile
import threading
import urllib.error
import urllib.parse

from node import ROOT, Node, call

WRITERS = 8


class Writer(threading.Thread):
    """Posts until the server is gone."""

    def __init__(self, node: Node, token: str, name: str):
        super().__init__(daemon=True)
        self.node, self.token, self.prefix = node, token, name
        self.acked: dict[str, str] = {}
        self.unknown: list[str] = []
        self.failed: list[str] = []

    def run(self) -> None:
        number = 0
        while True:
            number += 1
            text = f"{self.prefix}-{number}"
            try:
                status, _, answer = post(self.node, self.token, text)
            except (OSError, http.client.HTTPException, urllib.error.URLError, ValueError):
                self.unknown.append(text)
                return
            if status == 200:
                self.acked[text] = answer["id"]
            else:
                self.failed.append(f"{text}: {status} {answer}")


def post(node: Node, token: str, text: str):
    headers = {"Idempotency-Key": text}
    return call(f"{node.url}/api/v1/statuses", token, {"status": text}, headers=headers)


def settled(node: Node, token: str, text: str) -> str:
    """The id of the post under this key, made now or earlier."""
    status, _, answer = post(node, token, text)
    assert status == 200, f"{text} was repeated with its key and answered {status}: {answer}"
    return answer["id"]


def everything(node: Node, token: str, account: str) -> list[tuple[str, str]]:
    """Every post of the account, by paging through it."""
    found, after = [], ""
    while True:
        url = f"{node.url}/api/v1/accounts/{account}/statuses?limit=40{after}"
        status, _, page = call(url, token)
        assert status == 200, (status, page)
        if not page:
            return found
        found += [(one["id"], plain(one["content"])) for one in page]
        after = f"&max_id={page[-1]['id']}"


def plain(html: str) -> str:
    return html.removeprefix("<p>").removesuffix("</p>")


def check(acked: dict[str, str], found: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """What is lost and what is doubled. Also run on a history with a planted violation of each."""
    texts: dict[str, list[str]] = {}
    for number, text in found:
        texts.setdefault(text, []).append(number)
    lost = [text for text, number in acked.items() if number not in texts.get(text, [])]
    doubled = [text for text, numbers in texts.items() if len(numbers) > 1]
    return lost, doubled


def checker_notices() -> None:
    """The checker itself, on planted violations."""
    assert check({"a": "1"}, [("1", "a")]) == ([], [])
    assert check({"a": "1"}, []) == (["a"], [])
    assert check({"a": "1"}, [("1", "a"), ("2", "a")]) == ([], ["a"])
    assert check({"a": "1"}, [("2", "a")]) == (["a"], [])


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--kills", type=int, default=50)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--start-within", type=float, help="fail if a start takes longer, in seconds; for a quiet machine")
    arguments = arguments.parse_args()
    checker_notices()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        run(pathlib.Path(folder), chance, arguments)


def run(folder: pathlib.Path, chance: random.Random, arguments: argparse.Namespace) -> None:
    node = Node(folder / "data")
    port = urllib.parse.urlparse(node.url).port
    token = node.account("writer")
    account = call(f"{node.url}/api/v1/accounts/verify_credentials", token)[2]["id"]
    acked: dict[str, str] = {}
    lost_answers, failed, slowest = 0, [], 0.0
    for kill in range(arguments.kills):
        writers = [Writer(node, token, f"k{kill}w{n}") for n in range(WRITERS)]
        for writer in writers:
            writer.start()
        # The moment is what the seed decides; the writers never wait for it.
        threading.Event().wait(chance.uniform(0.15, 0.6))
        node.kill()
        for writer in writers:
            writer.join()
        node = Node(folder / "data", port)
        slowest = max(slowest, node.took)
        for writer in writers:
            acked |= writer.acked
            failed += writer.failed
            lost_answers += len(writer.unknown)
            for text in writer.unknown:
                first = settled(node, token, text)
                again = settled(node, token, text)
                assert first == again, f"{text} was repeated and made {first} and {again}"
                acked[text] = first
    lost, doubled = check(acked, everything(node, token, account))
    code = node.stop()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    print(
        f"faults injected {arguments.kills} / kinds F02 / acked {len(acked)} / unknown {lost_answers} / "
        f"failed {len(failed)} / lost {len(lost)} / duplicated {len(doubled)} / seed {arguments.seed} / "
        f"commit {commit.strip()} / slowest start {slowest:.2f} s"
    )
    assert not lost, f"lost: {lost[:10]}"
    assert not doubled, f"doubled: {doubled[:10]}"
    assert not failed, f"refused: {failed[:3]}"
    assert lost_answers >= min(200, arguments.kills * WRITERS // 2), "too few answers were lost to mean anything"
    assert not arguments.start_within or slowest < arguments.start_within, f"a start took {slowest:.2f} s"
    assert code == 0, f"the last stop exited with {code}"


if __name__ == "__main__":
    main()
