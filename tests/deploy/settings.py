"""The variables that pods and containers get, put before the real binary: `p92 config check` says which it does not know.
What the binary cannot do yet is printed, so that nobody takes silence for a check."""

import os
import pathlib
import subprocess
import urllib.request

import rules
from manifests import ROLE, containers, pods

def text(place: str) -> str:
    """A scrape from a file or a URL."""
    if place.startswith("http"):
        with urllib.request.urlopen(place) as answer:
            return answer.read().decode()
    return pathlib.Path(place).read_text()


def ask(binary: str, variables: dict) -> str:
    """What is wrong with these settings, one a line; nothing if they are in order."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("P92_")}
    done = subprocess.run([binary, "config", "check"], capture_output=True, text=True, check=False, env=clean | variables)
    return "" if done.returncode == 0 else done.stderr


def environment(container: dict) -> dict:
    """The variables of a container, as a kubelet would make them. Names that are not ours are left out."""
    made = {one["name"]: one.get("value", "pod-0") for one in container.get("env", [])}
    known = {name: value for name, value in made.items() if not name.startswith("P92_")}
    for name, value in known.items():
        made = {other: text_.replace(f"$({name})", value) for other, text_ in made.items()}
    return {name: value for name, value in made.items() if name.startswith("P92_")}


def variables(all_of, roles):
    """(where, variables), each set once."""
    seen = set()
    for file, (_, docs, _) in all_of.items():
        for doc, labels, spec in pods(docs):
            for one in containers(spec):
                made = environment(one)
                if labels[ROLE] in roles and (key := tuple(sorted(made.items()))) not in seen:
                    seen.add(key)
                    yield f"{file} {labels[ROLE]} {one['name']}", made


def embedded(binary: str, all_of, compose: dict):
    for where, made in variables(all_of, {"embedded"}):
        if problem := ask(binary, made):
            yield f"{where}: {problem}"
    if not ask(binary, {"P92_NO_SUCH": "setting"}):
        yield "the binary takes a setting that there is not"


def knows_cluster(binary: str) -> bool:
    """Whether this binary has the settings of a cluster at all."""
    return "there is no setting" not in ask(binary, {"P92_STORE__KIND": "cql"})


def cluster(binary: str, all_of, compose: dict):
    if not knows_cluster(binary):
        print("       ABSENT: this binary runs no cluster yet; its settings cannot be checked against it")
        return
    for where, made in variables(all_of, rules.OWNERS | {"gateway", "migrate", "doctor"}):
        for line in ask(binary, made).splitlines():
            # Files of secrets are not on this machine; whether they can be read is not the question here.
            if "there is no setting" in line or "is a section" in line:
                yield f"{where}: {line}"
    for name, one in compose["services"].items():
        made = {key: value for key, value in (one.get("environment") or {}).items() if key.startswith("P92_")}
        for line in ask(binary, made).splitlines():
            if "there is no setting" in line or "is a section" in line:
                yield f"compose.yaml {name}: {line}"


def commands(all_of, compose: dict) -> set:
    """What pods and containers run, as the words after the binary; `health` is of the image itself."""
    said = {tuple(one["args"]) for _, docs, _ in all_of.values() for _, _, spec in pods(docs) for one in containers(spec)}
    return said | {tuple(one["command"]) for one in compose["services"].values() if "P92_IMAGE" in one["image"]} | {("health",)}


def calls(binary: str, said: set):
    """Commands with words or flags that this binary does not know: its help comes last, so all words before it were read."""
    for words in sorted(said):
        if subprocess.run([binary, *words, "--help"], capture_output=True, check=False, env={}).returncode != 0:
            yield f"p92 {' '.join(words)}"


def probed(address: str):
    """What the operators' listener answers to the probes that a kubelet sends: gRPC's health protocol in the clear."""
    for service in ("startup", "readiness", "liveness"):
        message = b"\x0a" + bytes([len(service)]) + service.encode()
        frame = b"\x00" + len(message).to_bytes(4, "big") + message
        done = subprocess.run(
            ["curl", "--silent", "--max-time", "10", "--http2-prior-knowledge", "--header", "content-type: application/grpc"]
            + ["--header", "te: trailers", "--data-binary", "@-", f"http://{address}/grpc.health.v1.Health/Check"],
            input=frame, capture_output=True, check=False,
        )
        # One message, whose first field says SERVING.
        if done.stdout != b"\x00\x00\x00\x00\x02\x08\x01":
            yield f"gRPC probe {service}"


def absent(binary: str, who: str, things) -> list:
    """What this binary does not have: an error once it runs clusters, until then said aloud."""
    things = sorted(set(things))
    if things and knows_cluster(binary):
        return [f"{who}: {thing}" for thing in things]
    if things:
        print(f"       ABSENT in this binary, and {who}: {', '.join(things)}")
    return []
