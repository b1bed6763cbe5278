"""Dashboards, alerts and runbooks against what the binary really tells. Names and labels come from a scrape of a running
server that was made to do what is measured. What it cannot be made to tell is listed here, each with its reason and the
labels that it has then, and is looked for among the instruments that the sources declare."""

import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

import yaml

import settings
from manifests import name, of

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
NAME = re.compile(r"\bp92_[a-z0-9_]+")
SELECTOR = re.compile(r"\b(p92_[a-z0-9_]+)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:sum|max|min|count|avg) by \(([^)]*)\)\s*\(")
# Labels that Prometheus adds to what it reads.
ADDED = {"namespace", "pod", "component", "instance", "job"}
# How long a server has for telling of what it was made to do.
PATIENCE = 60.0

SHARED = "processes that share a store and a bus"
FAULT = "processes whose bus fails"
# name → (who alone tells of it, its labels): what is not in the scrape of the server that is started here.
UNSEEN = {
    "p92_eventlog_bus_published_total": (SHARED, {"service"}),
    "p92_eventlog_bus_received_total": (SHARED, {"service"}),
    "p92_eventlog_bus_repairs_total": (SHARED, {"service"}),
    "p92_storage_requests_total": (SHARED, {"operation"}),
    "p92_storage_rows_total": (SHARED, {"operation"}),
    "p92_storage_bytes_total": (SHARED, {"operation"}),
    "p92_eventlog_bus_reconnects_total": (FAULT, set()),
    "p92_eventlog_bus_resubscriptions_total": (FAULT, {"service"}),
    "p92_eventlog_bus_failures_total": (FAULT, {"service"}),
    "p92_eventlog_bus_dropped_total": (FAULT, {"service"}),
    "p92_eventlog_bus_unproven_total": ("processes beside another installation on one bus", {"service"}),
    "p92_tls_refused_renewals_total": ("processes that have certificates", set()),
    "p92_identity_claims_recovered_total": ("an owner that takes over in the middle of a sign-up", set()),
}

# Clauses without which alerts miss an event, or are raised by one that is long past.
MISSED = [
    "or (p92_process_panics_total > 0 and p92_process_uptime_seconds < 600)",
    "or (p92_eventlog_quarantined_events_total > 0 and ignoring (service, reader) p92_process_uptime_seconds < 600)",
    "p92_eventlog_lag_events > 0\n          and ",
    " and p92_process_uptime_seconds < 600",
    " and ignoring (service, reader) p92_process_uptime_seconds < 600",
    "              unless p92_rpc_server_duration_seconds_count offset 10m\n",
]


def family(kind: str, name: str) -> set:
    """The names under which an instrument of a kind is exported."""
    if kind == "histogram":
        return {name + end for end in ("_bucket", "_sum", "_count")}
    return {name if name.endswith("_total") else name + "_total"} if kind == "counter" else {name}


def scraped(text: str) -> dict:
    """Each name that has a value, and its labels."""
    labels = {}
    for match in re.finditer(r"^(p92_[a-z0-9_]+)(?:\{(.*)\})? ", text, re.MULTILINE):
        labels.setdefault(match[1], set()).update(re.findall(r'([a-z_]+)="', match[2] or ""))
    return labels


def declared() -> set:
    """Names that instruments in the sources are made with."""
    names = set()
    made = re.compile(r'\.\s*[uif]64_(?:observable_)?(counter|histogram|gauge|up_down_counter)\(\s*(format!\()?"(p92_[a-z0-9_{}]+)"')
    short = re.compile(r'meter\("([a-z_]+)"\)\s*\.(counter|seconds|bytes|gauge|histogram)\(\s*"([a-z_]+)"(?:,\s*"([a-z_]+)")?')
    helped = re.compile(r'gauge\(&meter, "(p92_[a-z0-9_]+)"')
    tallied = re.compile(r'tally\(\s*"(p92_[a-z0-9_]+)"')
    asked = re.compile(r'tell\(\s*"([a-z_]+)"')
    for path in (ROOT / "services").rglob("*.rs"):
        if "tests" in path.relative_to(ROOT).parts:
            continue
        text = path.read_text()
        for kind, formatted, name in made.findall(text):
            # Both ends of a call are measured alike: `p92_rpc_{kind}_…`.
            for one in [name.replace("{kind}", end) for end in ("client", "server")] if formatted else [name]:
                names |= family({"up_down_counter": "gauge"}.get(kind, kind), one)
        names |= set(helped.findall(text))
        for name in tallied.findall(text) + ["p92_storage_" + thing for thing in asked.findall(text)]:
            names |= family("counter", name)
        for part, kind, thing, unit in short.findall(text):
            name, kind = {
                "seconds": (f"{thing}_seconds", "histogram"), "bytes": (f"{thing}_bytes", "histogram"),
                "counter": (thing, "counter"), "gauge": (f"{thing}_{unit}", "gauge"), "histogram": (f"{thing}_{unit}", "histogram"),
            }[kind]
            names |= family(kind, f"p92_{part}_{name}")
    return names


def expressions():
    """(where, expression, labels that its texts show) of each panel, variable and alert."""
    for path in sorted((DEPLOY / "dashboards").glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                shown = re.findall(r"\{\{\s*(\w+)\s*\}\}", target.get("legendFormat", ""))
                yield f"{path.name}: {panel['title']}", target["expr"], set(shown)
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield f"{path.name}: ${variable['name']}", variable["query"]["query"], set()
    for rule in alerts():
        shown = re.findall(r"\$labels\.(\w+)", " ".join(rule["annotations"].values()))
        yield f"alert {rule['alert']}", rule["expr"], set(shown)


def scalers(all_of: dict) -> list:
    """(where, query) of each scaler that was rendered, each query once."""
    found = {}
    for file, (_, docs, _) in all_of.items():
        for doc in of(docs, "ScaledObject"):
            for trigger in doc["spec"]["triggers"]:
                found.setdefault(trigger["metadata"]["query"], f"{file} {name(doc)}")
    return [(where, query) for query, where in found.items()]


def alerts():
    for path in sorted((DEPLOY / "alerts").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


def services(texts: list) -> set:
    """The words by which services are told apart in metrics."""
    return {word for text in texts for word in re.findall(r'^p92_\w+\{(?:.*,)?service="([^"]+)"', text, re.MULTILINE)}


def told(seen: dict) -> dict:
    """Names and labels that an expression may use: those of the scrape, and of what is not seen there for a reason."""
    return {name: labels for name, (_, labels) in UNSEEN.items()} | seen


def unknown(found, labels: dict, known: set):
    """What is named and not exported, labels that a metric or the answer does not have, services that are not `known`."""
    for where, expression, shown in found:
        if not (named := set(NAME.findall(expression))):
            yield f"{where}: names no metric of ours"
        for metric in sorted(named - labels.keys()):
            yield f"{where}: {metric} is not exported"
        has = {metric: labels[metric] | ADDED for metric in named & labels.keys()}
        for metric, inside in SELECTOR.findall(expression):
            asked = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", inside))
            if lacks := asked - has.get(metric, asked):
                yield f"{where}: {metric} has no label {sorted(lacks)}"
            if strange := set(re.findall(r'\bservice="([^"]*)"', inside)) - known:
                yield f"{where}: no service is called {sorted(strange)}"
        for match in GROUPED.finditer(expression):
            inner = argument(expression, match.end())
            made = set(re.findall(r'label_replace\(.*?, "(\w+)"', inner))
            for metric in set(NAME.findall(inner)) & has.keys():
                if lacks := words(match[1]) - has[metric] - made:
                    yield f"{where}: {metric} has no label {sorted(lacks)} to group by"
        if lacks := shown - left(expression, has):
            yield f"{where}: shows {sorted(lacks)}, which its answer has not"


def words(listed: str) -> set:
    return set(re.findall(r"\w+", listed))


def argument(expression: str, begins: int) -> str:
    """What stands up to the parenthesis that closes the one before."""
    depth = 1
    for at in range(begins, len(expression)):
        depth += {"(": 1, ")": -1}.get(expression[at], 0)
        if depth == 0:
            return expression[begins:at]
    return expression[begins:]


def left(expression: str, has: dict) -> set:
    """The labels of an expression's answer: what it is grouped by at last, or what its metrics have in common with the
    first. Those that are grouped by nothing have none."""
    outer = re.search(r"\b(?:sum|max|min|count|avg)\b(?: by \(([^)]*)\))?\s*\(", expression)
    if outer:
        return words(outer[1] or "") - ({"le"} if "histogram_quantile" in expression else set())
    first = NAME.search(expression)
    return has.get(first[0], set()) if first else set()


def unexcused(found, seen: dict, shared: bool):
    """Names that are used and told by nobody without a reason, and reasons that are none. `shared`: a cluster was asked."""
    used = {metric for _, expression, _ in found for metric in NAME.findall(expression)}
    for metric in sorted(used - seen.keys() - UNSEEN.keys()):
        yield f"{metric} is in no scrape; what is measured must be done in `scrape`, or a reason stand in `UNSEEN`"
    for metric, (reason, has) in sorted(UNSEEN.items()):
        if metric not in used:
            yield f"{metric} stands in `UNSEEN`, and nothing uses it"
        if metric not in declared():
            yield f"{metric} stands in `UNSEEN`, and no instrument of the sources is called so"
        if shared and reason == SHARED and metric not in seen:
            yield f"{metric} is in no scrape of `--metrics`: are they of every process of a cluster?"
        if not shared and reason == SHARED and metric in seen:
            yield f"{metric} stands in `UNSEEN`, and is in the scrape of a server that is alone"
        if has - seen.get(metric, has):
            yield f"{metric} has no label {sorted(has - seen[metric])}, which `UNSEEN` says"


def scenarios() -> dict:
    return yaml.safe_load((DEPLOY / "alerts" / "tests" / "p92.yaml").read_text())


def untried():
    """Alerts that no scenario raises, and metrics of alerts that are not in the first one, in which all is well."""
    parts = scenarios()["tests"]
    expected = [sample["labels"] for part in parts for one in part["promql_expr_test"] for sample in one["exp_samples"]]
    raised = {alert for labels in expected for alert in re.findall(r'alertname="(\w+)"', labels)}
    for rule in alerts():
        if rule["alert"] not in raised:
            yield f"alert {rule['alert']}: no scenario raises it"
    well = {NAME.match(one["series"])[0] for one in parts[0]["input_series"]}
    used = {metric for rule in alerts() for metric in NAME.findall(rule["expr"])}
    yield from (f"{metric} is in an alert, and not among what is well" for metric in sorted(used - well))


def tried():
    """What is wrong with the alerts by their scenarios, and clauses whose absence those do not notice."""
    yield from untried()
    test = lambda path: subprocess.run(["promtool", "test", "rules", str(path)], capture_output=True, text=True, check=False)
    if (done := test(DEPLOY / "alerts" / "tests" / "p92.yaml")).returncode:
        yield done.stdout + done.stderr
    text = (DEPLOY / "alerts" / "p92.yaml").read_text()
    with tempfile.TemporaryDirectory() as folder:
        planted = pathlib.Path(folder)
        shutil.copytree(DEPLOY / "alerts" / "tests", planted / "tests")
        for clause in MISSED:
            (planted / "p92.yaml").write_text(text.replace(clause, ""))
            if clause not in text or test(planted / "tests" / "p92.yaml").returncode == 0:
                yield f"rules without `{clause.strip()}` pass as well"


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
    """Metrics of a server that was started for it and made to do what is measured, and the probes that it does not answer."""
    sys.path.insert(0, str(ROOT / "tests" / "client"))
    import node

    with tempfile.TemporaryDirectory() as folder:
        server = node.Node(pathlib.Path(folder) / "data", more="[identity]\npassword_grant = true\n")
        try:
            with do(server, node.call):
                return everything(f"http://{server.ready['ops']}/metrics"), list(settings.probed(server.ready["ops"]))
        finally:
            server.stop()


def do(server, call):
    """Two people, of whom one leaves; what the other one watches meanwhile, to be closed."""
    alice, bob = server.account("alice", "--role", "owner"), server.account("bob")
    post = call(f"{server.url}/api/v1/statuses", alice, {"status": "metrics #p92"})[2]["id"]
    call(f"{server.url}/api/v1/statuses", bob, {"status": "gone soon"})
    call(f"{server.url}/api/v1/timelines/home", alice)
    call(f"{server.url}/api/v1/trends/tags")
    app = json.loads(server.cli("app", "create", "--name", "passwords", "--json"))
    asked = {"grant_type": "password", "client_id": app["app"]["clientId"], "client_secret": app["clientSecret"], "username": "alice"}
    for password in ("a long password", "a wrong password"):
        call(f"{server.url}/oauth/token", form=asked | {"password": password})
    server.cli("delivery", "plan", post)
    server.cli("account", "erase", "bob", "--yes")
    stream = urllib.request.Request(f"{server.url}/api/v1/streaming/public", headers={"Authorization": f"Bearer {alice}"})
    return urllib.request.urlopen(stream, timeout=30)


def everything(address: str) -> str:
    """A scrape as soon as all is told, or what is told after a while."""
    used = {metric for _, expression, _ in expressions() for metric in NAME.findall(expression)}
    ends = time.monotonic() + PATIENCE
    while True:
        with urllib.request.urlopen(address, timeout=30) as answer:
            text = answer.read().decode()
        if used <= scraped(text).keys() | UNSEEN.keys() or time.monotonic() > ends:
            return text
        time.sleep(0.2)
