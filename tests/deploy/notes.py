"""What the chart tells people after an install: each command of its notes against the manifests of the same rendering (the
workload is there, the Service has the port, a command in a pod finds its process) and against the binary (words and flags)."""

import pathlib
import re
import shlex
import shutil
import subprocess

import rules
from manifests import ROLE, of, pods

# Helm prints notes after an install only, so a copy of the chart says them in a manifest.
TOLD = 'kind: Notes\napiVersion: v1\nmetadata: {name: notes}\ntext: {{ include (print .Template.BasePath "/NOTES.txt") . | toJson }}\n'


def telling(chart: pathlib.Path, into: pathlib.Path) -> pathlib.Path:
    """A copy of the chart that tells its notes."""
    shutil.copytree(chart, into, ignore=shutil.ignore_patterns("ci", "with-nats"))
    (into / "templates" / "notes.yaml").write_text(TOLD)
    return into


def commands(text: str) -> list:
    """The lines that are commands: they are set off from the words around them."""
    return [line.strip() for line in text.splitlines() if re.match(r"  (kubectl|helm|p92) ", line)]


def wrong(text: str, docs, binary: str):
    lines = commands(text)
    if len(lines) < 3:
        yield f"{len(lines)} commands"
    for line in lines:
        program, *words = shlex.split(line)
        if words[:2] != ["-n", "social"]:
            yield f"{line}: not in the namespace of the release"
        yield from (f"{line}: {problem}" for problem in refused(program, words[2:], docs, binary))
    for name in re.findall(r"\bp92-[a-z-]+\.social\.svc", text):
        if name.split(".")[0] not in {doc["metadata"]["name"] for doc in of(docs, "Service")}:
            yield f"{name}: there is no such Service"


def refused(program: str, words: list, docs, binary: str):
    """What is wrong with one command after its namespace."""
    named = {f"{doc['kind'].lower()}/{doc['metadata']['name']}": doc for doc in docs}
    match [program, *words]:
        case ["kubectl", "rollout", "status", what, "--timeout", _]:
            if what.split("/")[0] not in ("deployment", "statefulset") or what not in named:
                yield "nothing to wait for"
        case ["kubectl", "port-forward", what, ports]:
            service = named.get(what, {"spec": {"ports": []}})
            if int(ports.split(":")[-1]) not in [port["port"] for port in service["spec"]["ports"]]:
                yield "no such port"
        case ["kubectl", "exec", pod, "--", "p92", *rest]:
            yield from inside(pod, rest, docs, binary)
        case ["helm", "test", "p92", "--logs"]:
            if not [doc for doc in docs if (doc["metadata"].get("annotations") or {}).get("helm.sh/hook") == "test"]:
                yield "there is no test"
        case _:
            yield "nobody knows what it does"


def inside(pod: str, words: list, docs, binary: str):
    """A command that is run in a pod: of the pods that there are, with a way to the process, in words that the binary knows."""
    owner, _, number = pod.rpartition("-")
    sets = [(doc, labels, spec) for doc, labels, spec in pods(of(docs, "StatefulSet")) if doc["metadata"]["name"] == owner]
    # The first one is there at any number of replicas.
    if not sets or number != "0":
        yield "there is no such pod"
        return
    _, labels, spec = sets[0]
    env, role = rules.variables(spec), labels[ROLE]
    # Of one process: by the socket in its data. Of one service: by its internal address, or as an operator with a token or a certificate.
    accounts = words[0] in ("account", "app", "token", "server")
    if role == "embedded":
        found = "P92_DATA" in env
    elif accounts:
        found = role == "identity" and ("P92_ENDPOINT" in env or "--endpoint" in words)
    else:
        found = "P92_OPERATOR" in env or "P92_ENDPOINT" in env and "P92_TLS__CERTIFICATE_PATH" in env
    if not found:
        yield f"a command in a pod of {role} does not find who answers it"
    # The help comes last, so all words before it were understood.
    done = subprocess.run([binary, *words, "--help"], capture_output=True, text=True, check=False, env={})
    if done.returncode != 0:
        yield done.stderr.splitlines()[0]


# Violations: (what, in which rendering, what is written instead of what).
PLANTED = [
    ("a pod that is not there", "cluster", "p92-identity-0", "p92-identity-9"),
    ("a pod that keeps no accounts", "cluster", "p92-identity-0", "p92-ranking-0"),
    ("a workload that is not there", "cluster", "deployment/p92-gateway", "deployment/p92-door"),
    ("a flag that is not there", "cluster", "--role owner", "--rank owner"),
    ("a role that is not there", "embedded", "--role owner", "--role chief"),
    ("a command that is not there", "embedded", "account create", "account make"),
    ("another port", "embedded", "8092:8092", "8092:8094"),
    ("another namespace", "cluster", "-n social test", "-n elsewhere test"),
    ("tokens that nobody has", "cluster", "\nNo process answers", "\n  kubectl -n social exec p92-posting-0 -- p92 lag\n"),
    ("a name of no Service", "cluster-tls", "p92-ranking.social.svc", "p92-trends.social.svc"),
]
