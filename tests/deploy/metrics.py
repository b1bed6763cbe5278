"""Dashboards, alerts and runbooks against what the binary really tells. Names come from a scrape of a running server; those
that appear only when something happens (a panic, a quarantine) from the instruments that the sources declare."""

import json
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.request

import yaml

import settings

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
NAME = re.compile(r"\bp92_[a-z0-9_]+")
SELECTOR = re.compile(r"\b(p92_[a-z0-9_]+)\{([^}]*)\}")
# Labels that Prometheus adds to what it reads.
ADDED = {"namespace", "pod", "component", "instance", "job", "le"}


def family(kind: str, name: str) -> set:
    """The names under which an instrument of a kind is exported."""
    if kind == "histogram":
        return {name + end for end in ("_bucket", "_sum", "_count")}
    return {name if name.endswith("_total") else name + "_total"} if kind == "counter" else {name}


def scraped(text: str):
    """Names and, for each, its labels."""
    names, labels = set(), {}
    for line in text.splitlines():
        if match := re.match(r"# TYPE (p92_\S+) (\S+)", line):
            names |= family(match[2], match[1])
        elif match := re.match(r"(p92_[a-z0-9_]+)(?:\{(.*)\})? ", line):
            labels.setdefault(match[1], set()).update(re.findall(r'([a-z_]+)="', match[2] or ""))
    return names, labels


def declared() -> set:
    """Names that instruments in the sources are made with."""
    names = set()
    made = re.compile(r'\.\s*[uif]64_(?:observable_)?(counter|histogram|gauge|up_down_counter)\(\s*(format!\()?"(p92_[a-z0-9_{}]+)"')
    short = re.compile(r'meter\("([a-z_]+)"\)\s*\.(counter|seconds|bytes|gauge|histogram)\(\s*"([a-z_]+)"(?:,\s*"([a-z_]+)")?')
    helped = re.compile(r'gauge\(&meter, "(p92_[a-z0-9_]+)"')
    for path in (ROOT / "services").rglob("*.rs"):
        if "tests" in path.relative_to(ROOT).parts:
            continue
        text = path.read_text()
        for kind, formatted, name in made.findall(text):
            # Both ends of a call are measured alike: `p92_rpc_{kind}_…`.
            for one in [name.replace("{kind}", end) for end in ("client", "server")] if formatted else [name]:
                names |= family({"up_down_counter": "gauge"}.get(kind, kind), one)
        names |= set(helped.findall(text))
        for part, kind, thing, unit in short.findall(text):
            name, kind = {
                "seconds": (f"{thing}_seconds", "histogram"), "bytes": (f"{thing}_bytes", "histogram"),
                "counter": (thing, "counter"), "gauge": (f"{thing}_{unit}", "gauge"), "histogram": (f"{thing}_{unit}", "histogram"),
            }[kind]
            names |= family(kind, f"p92_{part}_{name}")
    return names


def expressions():
    """(where, expression) of each panel, variable and alert."""
    for path in sorted((DEPLOY / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{path.name}: ${variable['name']}", variable["query"]["query"]
    for rule in alerts():
        yield f"alert {rule['alert']}", rule["expr"]


def alerts():
    for path in sorted((DEPLOY / "alerts").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def unknown(found, names, labels):
    """What is named and not exported, and labels that a metric does not have."""
    for where, expression in found:
        if not (named := set(NAME.findall(expression))):
            yield f"{where}: names no metric of ours"
        for name in sorted(named - names):
            yield f"{where}: {name} is not exported"
        for name, inside in SELECTOR.findall(expression):
            has = labels.get(name)
            asked = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", inside))
            if has is not None and asked - has - ADDED:
                yield f"{where}: {name} has no label {sorted(asked - has - ADDED)}"


def unaided(rules, folder: pathlib.Path):
    """Alerts without a runbook, and runbooks without an alert."""
    used = set()
    for rule in rules:
        path = rule.get("annotations", {}).get("runbook", "")
        if rule.get("labels", {}).get("severity") not in ("page", "ticket"):
            yield f"alert {rule['alert']}: severity {rule.get('labels')}"
        if not path.startswith("deploy/runbooks/") or not (text := read(folder / pathlib.Path(path).name)):
            yield f"alert {rule['alert']}: no runbook at {path or 'nowhere'}"
            continue
        used.add(pathlib.Path(path).name)
        if rule["alert"] not in text.splitlines()[0]:
            yield f"{path}: does not say that it is for {rule['alert']}"
        for part in ("## What it means", "## What to look at", "## What to do"):
            if part not in text:
                yield f"{path}: no part {part[3:]}"
    for path in sorted(folder.glob("*.md")):
        if path.name not in used:
            yield f"{path.name}: no alert leads here"


def read(path: pathlib.Path) -> str:
    return path.read_text() if path.is_file() else ""


def commands(binary: str):
    """Commands that runbooks name, as their words before the first flag or argument, against those that the binary has."""
    for path in sorted((DEPLOY / "runbooks").glob("*.md")):
        for words in sorted(set(re.findall(r"`p92 ([a-z]+(?: [a-z]+)?)", path.read_text()))):
            done = subprocess.run([binary, *words.split(), "--help"], capture_output=True, text=True, check=False)
            if done.returncode != 0:
                yield f"{path.name}: p92 {words}"


def scrape():
    """Metrics of a server that was started for it and used a little, and the probes that it does not answer."""
    sys.path.insert(0, str(ROOT / "tests" / "client"))
    import node

    with tempfile.TemporaryDirectory() as folder:
        server = node.Node(pathlib.Path(folder) / "data")
        try:
            token = server.account("alice", "--role", "owner")
            node.call(f"{server.url}/api/v1/statuses", token, {"status": "metrics #p92"})
            node.call(f"{server.url}/api/v1/timelines/home", token)
            node.call(f"{server.url}/api/v1/trends/tags")
            with urllib.request.urlopen(f"http://{server.ready['ops']}/metrics") as answer:
                return answer.read().decode(), list(settings.probed(server.ready["ops"]))
        finally:
            server.stop()
