"""Runs every check of the chart, the compose file, the image, dashboards, alerts and runbooks; see README.md. Prints what is
wrong and how much was checked; ends with 1 if anything is."""

import argparse
import concurrent.futures
import copy
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import yaml

import composed
import metrics
import notes
import planted
import rights
import rules
import schemas
import settings
import values as written
from manifests import pods

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART, DEPLOY = ROOT / "helm" / "p92", ROOT / "deploy"
CACHE = pathlib.Path(os.environ.get("P92_CACHE", pathlib.Path.home() / ".cache" / "p92"))
wrong = []


def say(part: str, problems, count: int, of: str) -> None:
    problems = list(problems)
    wrong.extend(problems)
    print(f"{'WRONG' if problems else 'ok':6} {part}: {count} {of}", flush=True)
    for problem in problems[:20]:
        print(f"       {problem}")


def helm(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run(["helm", *words], capture_output=True, text=True, check=False)


def told(done: subprocess.CompletedProcess) -> str:
    lines = (done.stderr + done.stdout).splitlines()
    return " ".join(line.strip() for line in lines if "found symbolic link" not in line)[:400]


def template(file: str, *more: str, chart: pathlib.Path = CHART) -> subprocess.CompletedProcess:
    return helm("template", "p92", str(chart), "--namespace", "social", "--values", str(CHART / "ci" / f"{file}.yaml"), *more)


def merged(base: dict, over: dict) -> dict:
    out = copy.deepcopy(base)
    for key, value in over.items():
        out[key] = merged(out[key], value) if isinstance(value, dict) and isinstance(out.get(key), dict) else copy.deepcopy(value)
    return out


def rendered(files: list) -> dict:
    """file → (text, manifests, values)."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    out, problems = {}, []
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for file, done in zip(files, pool.map(template, files)):
            if done.returncode != 0:
                problems.append(f"{file}: {told(done)}")
                continue
            docs = [doc for doc in yaml.safe_load_all(done.stdout) if doc]
            over = yaml.safe_load((CHART / "ci" / f"{file}.yaml").read_text()) or {}
            out[file] = (done.stdout, docs, merged(defaults, over))
    say("helm template", problems, len(files), "files of values")
    return out


def lint(files: list) -> None:
    done = [helm("lint", "--strict", "--quiet", str(CHART), "--values", str(CHART / "ci" / f"{file}.yaml")) for file in files]
    say("helm lint --strict", (told(one) for one in done if one.returncode != 0), len(files), "files of values")


def conform(all_of: dict) -> None:
    places = [schemas.kubernetes(CACHE / "schemas"), schemas.custom(CACHE / "schemas")]
    texts = "\n---\n".join(text for text, _, _ in all_of.values())
    run = lambda text, version: subprocess.run(
        ["kubeconform", "-strict", "-summary", "-kubernetes-version", version, "-skip", ",".join(schemas.WITHOUT)]
        + [word for place in places for word in ("-schema-location", place)],
        input=text, capture_output=True, text=True, check=False,
    )
    for version in schemas.KUBERNETES:
        done = run(texts, version)
        summary = done.stdout.strip().splitlines()[-1:] or [""]
        say(f"kubeconform, Kubernetes {version}", done.stdout.splitlines() + [done.stderr] if done.returncode else [], len(all_of), f"renderings; {summary[0]}")
    # It must be able to fail: a field that no API server knows, in a resource of Kubernetes and in a custom one.
    text, _, _ = all_of["cluster-keda"]
    for known, planted_ in (("podManagementPolicy", "podsManagementPolicy"), ("minReplicaCount", "leastReplicas")):
        done = run(text.replace(f"{known}:", f"{planted_}:", 1), schemas.KUBERNETES[1])
        seen = done.returncode != 0 and planted_ in done.stdout and "Invalid: 1" in done.stdout
        say(f"kubeconform refuses {planted_}", [] if seen else [done.stdout], 1, "rendering")


def rule(all_of: dict) -> None:
    for one in rules.RULES:
        problems = [f"{file}: {problem}" for file, (_, docs, values) in all_of.items() for problem in one(docs, values)]
        say(f"rule {one.__name__}", problems, len(all_of), "renderings")
    missed = []
    for name, file, what, plant in planted.VIOLATIONS:
        _, docs, values = all_of[file]
        docs = copy.deepcopy(docs)
        plant(docs)
        if not list(getattr(rules, name)(docs, values)):
            missed.append(f"{name} does not report {what} ({file})")
    missed += [f"no violation is planted for {one.__name__}" for one in rules.RULES if one.__name__ not in {v[0] for v in planted.VIOLATIONS}]
    say("planted violations", missed, len(planted.VIOLATIONS), "violations")


def refusals() -> None:
    problems = []
    for file, bad, good in planted.REFUSALS:
        if template(file, "--set", bad).returncode == 0:
            problems.append(f"{file}: {bad} is taken")
        if good and (done := template(file, "--set", good)).returncode != 0:
            problems.append(f"{file}: {good} is refused: {told(done)}")
    say("values refused, and their twins taken", problems, len(planted.REFUSALS), "pairs")


def covered(files: list) -> None:
    """Each value that the chart knows is set by a file under ci/, so that no option is there that is never rendered."""
    paths = {path for path, _, _ in written.rows((CHART / "values.yaml").read_text())}
    setting = set()

    def walk(value, path=""):
        setting.add(path)
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{path}.{key}".strip("."))

    for file in files:
        walk(yaml.safe_load((CHART / "ci" / f"{file}.yaml").read_text()) or {})
    say("values that no file under ci/ sets", sorted(paths - setting), len(paths), "values")
    done = subprocess.run([sys.executable, str(ROOT / "tests" / "deploy" / "values.py"), "--check"], capture_output=True, text=True, check=False)
    say("README of values", [done.stderr.strip()] if done.returncode else [], len(paths), "values")


def told_keys(all_of: dict) -> None:
    """What pods mount out of secrets stands in the README, by the names that it has if nobody chooses others."""
    section = (CHART / "README.md").read_text().split("## Secrets")[1].split("\n## ")[0]
    volumes = [volume for file in ("cluster", "embedded-all") for _, _, spec in pods(all_of[file][1]) for volume in spec.get("volumes", [])]
    keys = {item["key"] for volume in volumes for item in volume.get("secret", {}).get("items", [])}
    untold = lambda text: [f"{key} stands nowhere under Secrets" for key in sorted(keys) if f"`{key}`" not in text]
    missed = [] if untold(section.replace("`doctor.nk`", "")) else ["a key that the README does not name is not reported"]
    say("keys of secrets in the README", untold(section) + missed, len(keys), "keys")


def beside() -> None:
    """with-nats, rendered without the chart of NATS, which is fetched from its site: what it and its README say is taken, and the
    cluster that comes of it keeps every rule. What NATS makes of its own values is not seen here."""
    chart = yaml.safe_load((CHART / "with-nats" / "Chart.yaml").read_text())
    own = yaml.safe_load((CHART / "Chart.yaml").read_text())
    needs = {one["name"]: one for one in chart["dependencies"]}
    problems = [] if needs["nats"].get("condition") == "nats.enabled" else ["NATS cannot be left out"]
    problems += [] if needs["p92"]["version"] == own["version"] == chart["version"] else ["its version is not that of the chart"]
    say("with-nats: its dependencies", problems, len(needs), "charts")
    text = (CHART / "with-nats" / "values.yaml").read_text()
    # A cluster's values stand under `p92`, as the README says; the bus is what with-nats brings.
    given = yaml.safe_load((CHART / "ci" / "cluster.yaml").read_text())
    given["bus"] = {"nats": {"credentials": given["bus"]["nats"]["credentials"]}}
    with tempfile.TemporaryDirectory() as folder:
        copied = pathlib.Path(folder) / "with-nats"
        shutil.copytree(CHART / "with-nats", copied, ignore=shutil.ignore_patterns("charts", "Chart.lock"))
        shutil.copytree(CHART, copied / "charts" / "p92", ignore=shutil.ignore_patterns("ci", "with-nats"))
        (copied / "Chart.yaml").write_text(yaml.safe_dump(chart | {"dependencies": [needs["p92"]]}))
        done, twin = (rendered_with(copied, values) for values in ({"p92": given}, given))
    say("with-nats: rendered", [] if done.returncode == 0 else [told(done)], 1, "rendering")
    inner = yaml.safe_load(text)["p92"]
    values = merged(merged(yaml.safe_load((CHART / "values.yaml").read_text()), inner), given)
    docs = [doc for doc in yaml.safe_load_all(done.stdout) if doc]
    problems = [f"{one.__name__}: {problem}" for one in rules.RULES for problem in one(docs, values)]
    say("with-nats: the rules of the chart", problems, len(rules.RULES), "rules")
    say("with-nats: the rights of users on the bus", rights.wrong(text), len(rights.SHOWN), "users")
    missed = [] if twin.returncode else ["values that do not stand under `p92` are enough"]
    for what, old, new in rights.PLANTED:
        missed += [] if old in text and list(rights.wrong(text.replace(old, new, 1))) else [f"with-nats: {what} is not reported"]
    say("planted violations of with-nats", missed, 1 + len(rights.PLANTED), "violations")


def rendered_with(chart: pathlib.Path, values: dict) -> subprocess.CompletedProcess:
    path = chart.parent / "values.yaml"
    path.write_text(yaml.safe_dump(values))
    return helm("template", "p92", str(chart), "--namespace", "social", "--values", str(path))


def tell(all_of: dict, binary: str) -> None:
    texts = {}
    with tempfile.TemporaryDirectory() as folder:
        chart = notes.telling(CHART, pathlib.Path(folder) / "p92")
        for file in all_of:
            done = template(file, "--show-only", "templates/notes.yaml", chart=chart)
            texts[file] = yaml.safe_load(done.stdout)["text"] if done.returncode == 0 else ""
    problems = [f"{file}: {problem}" for file, text in texts.items() for problem in notes.wrong(text, all_of[file][1], binary)]
    say("commands of the notes", problems, sum(len(notes.commands(text)) for text in texts.values()), "commands")
    missed = []
    for what, file, old, new in notes.PLANTED:
        if old not in texts[file] or not list(notes.wrong(texts[file].replace(old, new), all_of[file][1], binary)):
            missed.append(f"notes: {what} is not reported ({file})")
    say("planted violations of the notes", missed, len(notes.PLANTED), "violations")


def compose() -> None:
    schema, file = schemas.compose(), composed.load()
    say("compose file", composed.composed(file, schema), len(file["services"]), "services")
    missed = []
    for what, plant in composed.PLANTED:
        bad = copy.deepcopy(file)
        plant(bad)
        missed += [] if list(composed.composed(bad, schema)) else [f"compose: {what} is not reported"]
    text = (DEPLOY / "Dockerfile").read_text()
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text()
    say("Dockerfile", list(composed.image(text)) + list(composed.context(ignore)), 1, "image")
    for what, (old, new) in composed.PLANTED_IMAGE:
        missed += [] if old in text and list(composed.image(text.replace(old, new))) else [f"Dockerfile: {what} is not reported"]
    missed += [] if list(composed.context(ignore.replace("!proto\n", ""))) else ["dockerignore: a missing member is not reported"]
    say("planted violations of both", missed, len(composed.PLANTED) + len(composed.PLANTED_IMAGE) + 1, "violations")


def watch(texts: list, shared: bool, all_of: dict, binary: str) -> None:
    seen, asked = {}, metrics.scalers(all_of)
    for text in texts:
        for name, labels in metrics.scraped(text).items():
            seen.setdefault(name, set()).update(labels)
    labels, known = metrics.told(seen), metrics.services(texts)
    found = [*metrics.expressions(), *((where, query, set()) for where, query in asked)]
    say("metrics and labels that dashboards, alerts and scalers name", metrics.unknown(found, labels, known), len(found), "expressions")
    used = {name for _, expression, _ in found for name in metrics.NAME.findall(expression)}
    say("names that are in no scrape, and their reasons", metrics.unexcused(found, seen, shared), len(used - seen.keys()), f"of {len(used)} names")
    for name in sorted((used - seen.keys()) & metrics.UNSEEN.keys()):
        print(f"       {name}: told only by {metrics.UNSEEN[name][0]}")
    say("names that the sources declare are those of the scrape", sorted(seen.keys() - metrics.declared()), len(seen), "names")
    lag = "p92_eventlog_lag_events"
    bad = [
        ("p92_eventlog_lag_bytes", set()), (f'{lag}{{host="x"}}', set()), ("up", set()), (f"max by (reader, host) ({lag})", set()),
        (f"max by (reader) ({lag})", {"shard"}), (lag, {"host"}), (f"sum({lag})", {"reader"}),
        (f"histogram_quantile(0.9, sum by (le) (rate({lag}[5m])))", set()), (f'{lag}{{service="federation-delivery"}}', set()),
    ]
    missed = [str(one) for one in bad if not list(metrics.unknown([("planted", *one)], labels, known))]
    good = (f'topk(3, max by (reader) ({lag}{{service="federation_delivery"}}))', {"reader"})
    missed += [str(one) for one in metrics.unknown([("planted", *good)], labels, known)]
    alerts = list(metrics.alerts())
    folder = DEPLOY / "runbooks"
    say("alerts and runbooks", metrics.unaided(alerts, folder), len(alerts), "alerts")
    for plant in (lambda rule: rule["annotations"].pop("runbook"), lambda rule: rule["annotations"].update(runbook="deploy/runbooks/none.md"), lambda rule: rule["labels"].clear()):
        rule_ = copy.deepcopy(alerts[0])
        plant(rule_)
        missed += [] if list(metrics.unaided([rule_, *alerts[1:]], folder)) else ["an alert without help is not reported"]
    say("planted violations of alerts and expressions", missed, len(bad) + 4, "violations")
    done = subprocess.run(["promtool", "check", "rules", "--lint=all", "--lint-fatal", str(DEPLOY / "alerts" / "p92.yaml")], capture_output=True, text=True, check=False)
    say("promtool check rules", [done.stdout + done.stderr] if done.returncode else [], len(alerts), "alerts")
    say("promtool test rules", metrics.tried(), len(metrics.scenarios()["tests"]), "scenarios")
    done = subprocess.run(["promtool", "check", "config", "--syntax-only", str(DEPLOY / "compose" / "prometheus.yaml")], capture_output=True, text=True, check=False)
    say("promtool check config", [done.stdout + done.stderr] if done.returncode else [], 1, "file")
    # Expressions of dashboards, with what Grafana puts in, read by Prometheus's own parser.
    made = [expression.replace("$__rate_interval", "5m").replace("$namespace", ".*") for _, expression, _ in found if "$namespace" in expression and "label_values" not in expression]
    made += [query for _, query in asked]
    for what, expressions, right in (("read by promtool", made, True), ("a planted one, refused", [made[0] + ")"], False)):
        path = CACHE / "dashboards.yaml"
        group = [{"record": f"dashboard:{number}", "expr": one} for number, one in enumerate(expressions)]
        path.write_text(yaml.safe_dump({"groups": [{"name": "dashboards", "rules": group}]}))
        done = subprocess.run(["promtool", "check", "rules", "--lint=none", str(path)], capture_output=True, text=True, check=False)
        say(f"expressions of dashboards and scalers, {what}", [] if (done.returncode == 0) == right else [done.stdout + done.stderr], len(expressions), "expressions")
    problems = settings.absent(binary, "runbooks name", metrics.commands(binary))
    say("commands of runbooks", problems, len(list(folder.glob("*.md"))), "runbooks")


def main() -> None:
    flags = argparse.ArgumentParser()
    flags.add_argument("--metrics", nargs="+", default=[], help="scrapes of a cluster, of each process: files or URLs")
    metrics_at = flags.parse_args().metrics
    files = sorted(path.stem for path in (CHART / "ci").glob("*.yaml"))
    lint(files)
    all_of = rendered(files)
    covered(files)
    told_keys(all_of)
    beside()
    conform(all_of)
    rule(all_of)
    refusals()
    compose()
    binary = os.environ["P92_BIN"]
    tell(all_of, binary)
    say("settings of the embedded pod and container", settings.embedded(binary, all_of, composed.load()), len(all_of), "renderings")
    say("settings of the cluster", settings.cluster(binary, all_of, composed.load()), len(all_of), "renderings")
    said = settings.commands(all_of, composed.load())
    missed = [] if list(settings.calls(binary, {("doctor", "--besides")})) else ["a flag that there is not is taken"]
    say("commands of chart and compose", settings.absent(binary, "chart and compose call", settings.calls(binary, said)) + missed, len(said), "commands")
    text, unanswered = metrics.scrape()
    say("probes of the chart", settings.absent(binary, "the chart asks for", unanswered), 3, "probes")
    watch([text, *map(settings.text, metrics_at)], bool(metrics_at), all_of, binary)
    print(f"{len(wrong)} wrong" if wrong else "all in order")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
