"""The compose file and the image, as far as they can be judged without a container daemon."""

import pathlib
import re

import jsonschema
import yaml

import rules

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
OURS = rules.OWNERS | {"gateway", "migrate", "p92"}
OTHERS = {"operators", "scylla", "nats", "collector", "prometheus", "grafana"}


def load() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def composed(file: dict, schema: dict):
    """What is wrong with the compose file."""
    for error in jsonschema.Draft202012Validator(schema).iter_errors(file):
        yield f"compose.yaml {'/'.join(map(str, error.path))}: {error.message[:200]}"
    services = file["services"]
    if set(services) != OURS | OTHERS:
        yield f"compose.yaml: services {sorted(set(services) ^ (OURS | OTHERS))}"
    default = {name for name, one in services.items() if not one.get("profiles")}
    if default != {"p92"}:
        yield f"compose.yaml: starts {sorted(default)} by default"
    for name, one in services.items():
        if name != "p92" and one.get("profiles") != ["cluster"]:
            yield f"compose.yaml {name}: profiles {one.get('profiles')}"
        if re.search(r":latest$|^[^:]+$", one["image"]):
            yield f"compose.yaml {name}: its image has no version"
        for port in one.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                yield f"compose.yaml {name}: {port} is open to the network"
        for volume in one.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and not (DEPLOY / source).exists():
                yield f"compose.yaml {name}: {source} is not there"
            if not source.startswith(".") and source not in file["volumes"]:
                yield f"compose.yaml {name}: no volume {source}"
        for need in one.get("depends_on", []):
            if need not in services:
                yield f"compose.yaml {name}: waits for {need}, which is not there"
    for name in OURS & set(services):
        one = services[name]
        if not one.get("read_only") or one.get("cap_drop") != ["ALL"] or one.get("security_opt") != ["no-new-privileges:true"]:
            yield f"compose.yaml {name}: not hardened"
        if name in rules.OWNERS | {"gateway"}:
            if one["command"] != ["serve", name]:
                yield f"compose.yaml {name}: its role is {one['command']}"
            asked = {key.removeprefix("P92_PEERS__").lower() for key in one["environment"] if key.startswith("P92_PEERS__")}
            if asked != {other for caller, other in rules.CALLS if caller == name} - {name}:
                yield f"compose.yaml {name}: asks {sorted(asked)}"
            if ("outside" in one["networks"]) != (name in ("gateway", "federation-delivery")):
                yield f"compose.yaml {name}: networks {one['networks']}"
        keys = [volume for volume in one.get("volumes", []) if volume.endswith("/p92-keys")]
        if name != "gateway" and (len(keys) != 1 or keys[0].split(":")[0] in [v.split(":")[0] for v in one["volumes"] if v not in keys]):
            yield f"compose.yaml {name}: its keys do not lie apart"
    for name in rules.OWNERS & set(services):
        one, env = services[name], services[name]["environment"]
        folder = next((volume.split(":")[1] for volume in one["volumes"] if volume.startswith("operators:") and volume.endswith(":ro")), None)
        if {env.get("P92_OPERATORS__TOKENS_PATH"), env.get("P92_TOKEN_FILE")} != {f"{folder}/tokens"}:
            yield f"compose.yaml {name}: tokens of operators are not at {folder}"
        if env.get("P92_OPERATOR") != f"127.0.0.1:{rules.OPS}" or env.get("P92_ENDPOINT") != env["P92_INTERNAL__ADVERTISE"]:
            yield f"compose.yaml {name}: commands in its container ask another"
        if one["depends_on"].get("operators") != {"condition": "service_completed_successfully"}:
            yield f"compose.yaml {name}: starts before there are tokens"
    if "--commitlog-sync batch" not in " ".join(services["scylla"]["command"]):
        yield "compose.yaml scylla: a node that is killed forgets what it acknowledged last"
    if file["networks"]["inside"] != {"internal": True}:
        yield "compose.yaml: the inner network has a way out"


def image(text: str):
    """What is wrong with the Dockerfile."""
    stages = re.split(r"(?m)^FROM ", text)[1:]
    if len(stages) < 3:
        yield "Dockerfile: one stage only"
    last = stages[-1]
    if not re.match(r"gcr\.io/distroless/cc-debian12:nonroot\n", last):
        yield f"Dockerfile: ships {last.splitlines()[0]}"
    if re.search(r"(?m)^RUN ", last):
        yield "Dockerfile: runs something in the image that ships, which has no shell"
    if not re.search(r"(?m)^USER 65532:65532$", last):
        yield "Dockerfile: its user is not a number, or is root"
    for stage in stages:
        base = stage.split()[0]
        if ":" not in base and not re.search(rf"(?m)^FROM .* AS {base}$", text):
            yield f"Dockerfile: {base} has no version"
    build = next((stage for stage in stages if "cargo build" in stage), "")
    if not 0 <= build.find("cargo chef cook") < build.find("COPY . .") < build.find("cargo build"):
        yield "Dockerfile: a changed source costs all dependencies"
    wanted = re.search(r'channel = "([^"]+)"', (DEPLOY.parent / "rust-toolchain.toml").read_text())[1]
    if f"FROM rust:{wanted}-" not in text or f"RUSTUP_TOOLCHAIN={wanted}" not in text:
        yield f"Dockerfile: not the toolchain {wanted}"
    if not re.search(r'(?m)^ENTRYPOINT \["/usr/local/bin/p92"\]$', last):
        yield "Dockerfile: roles are not its arguments"


def context(ignore: str):
    """Members of the workspace that the image's build would not see."""
    kept = [line[1:].rstrip("/") for line in ignore.splitlines() if line.startswith("!")]
    manifest = (DEPLOY.parent / "Cargo.toml").read_text()
    members = re.findall(r'"([^"]+)"', re.search(r"members = \[(.*?)\]", manifest, re.S)[1])
    needed = ["Cargo.toml", "Cargo.lock", ".cargo/config.toml"] + [f"{member}/Cargo.toml" for member in members]
    targets = re.findall(r'(?m)^path = "([^"]+)"', (DEPLOY.parent / "tests" / "Cargo.toml").read_text())
    for path in needed + [f"tests/{target}" for target in targets]:
        if not any(path == one or path.startswith(one + "/") for one in kept):
            yield f"Dockerfile.dockerignore: {path} is left out"


# Planted violations: (what, how).
PLANTED = [
    ("a store that syncs now and then", lambda f: f["services"]["scylla"]["command"].remove("batch")),
    ("two by default", lambda f: f["services"]["nats"].pop("profiles")),
    ("an open port", lambda f: f["services"]["p92"].update(ports=["8092:8092"])),
    ("an unknown field", lambda f: f["services"]["p92"].update(replicas=2)),
    ("no version", lambda f: f["services"]["nats"].update(image="nats:latest")),
    ("a missing file", lambda f: f["services"]["prometheus"]["volumes"].append("./nothing:/x")),
    ("a way out", lambda f: f["services"]["posting"].update(networks=["inside", "outside"])),
    ("a root that can be written", lambda f: f["services"]["ranking"].pop("read_only")),
    ("keys beside the data", lambda f: f["services"]["p92"].update(volumes=["data:/var/lib/p92", "data:/var/lib/p92-keys"])),
    ("tokens that are not there", lambda f: f["services"]["ranking"].update(volumes=["keys:/var/lib/p92-keys"])),
    ("tokens that can be written", lambda f: f["services"]["ranking"]["volumes"].__setitem__(1, "operators:/etc/p92/operators")),
    ("no way for operators", lambda f: f["services"]["posting"]["environment"].pop("P92_TOKEN_FILE")),
    ("commands that ask another", lambda f: f["services"]["identity"]["environment"].update(P92_ENDPOINT="posting:8094")),
    ("a start without tokens", lambda f: f["services"]["timelines"]["depends_on"].pop("operators")),
    ("another role", lambda f: f["services"]["posting"].update(command=["serve", "identity"])),
    ("a peer is missing", lambda f: f["services"]["gateway"]["environment"].pop("P92_PEERS__RANKING")),
]
PLANTED_IMAGE = [
    ("root", ("USER 65532:65532", "USER root")),
    ("dependencies last", ("RUN cargo chef cook", "RUN true")),
    ("a shell", ("gcr.io/distroless/cc-debian12:nonroot", "debian:latest")),
    ("another toolchain", ("rust:1.95.0-slim", "rust:1.90.0-slim")),
]
