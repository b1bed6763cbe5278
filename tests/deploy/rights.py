"""What each user of the bus may do, as with-nats shows it, against what services/shared/eventlog/README.md says a service needs."""

import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
WHERE = ROOT / "services" / "shared" / "eventlog" / "README.md"
# One like most, the one whose subject is not its name, and the doctor, who publishes nothing and asks for one stream.
SHOWN = {"posting", "federation-delivery", "doctor"}


def needed() -> tuple:
    """What a service publishes and hears, with its own names left open."""
    line = next(line for line in WHERE.read_text().splitlines() if line.startswith("- **Rights** that a service needs"))
    publish, subscribe = line.split("; subscribe ")
    return set(re.findall(r"`([^`]+)`", publish)), set(re.findall(r"`([^`]+)`", subscribe.split(". ")[0]))


def shown(values: str) -> list:
    """The users in the comment of with-nats' values."""
    lines = values.splitlines()
    begin = next(number for number, line in enumerate(lines) if line.strip() == "# merge:")
    block = []
    for line in lines[begin:]:
        if not line.strip().startswith("#"):
            break
        block.append(line.strip().removeprefix("#")[1:])
    return yaml.safe_load("\n".join(block))["merge"]["authorization"]["users"]


def wrong(values: str):
    publish, subscribe = needed()
    seen = set()
    for user in shown(values):
        may = {way: set(user["permissions"][way]["allow"]) for way in ("publish", "subscribe")}
        name = next(iter(may["subscribe"])).removeprefix("_INBOX_").removesuffix(".>")
        seen.add(name)
        own = {one.replace("<own service>", name.replace("-", "_")) for one in publish}
        if name == "doctor":
            own = {one for one in own if "STREAM.INFO" in one}
        if may["publish"] != own:
            yield f"with-nats: {name} may publish {sorted(may['publish'] ^ own)} too much or too little"
        if may["subscribe"] != {one.replace("<inbox prefix>", f"_INBOX_{name}") for one in subscribe}:
            yield f"with-nats: {name} may hear {sorted(may['subscribe'])}"
    if seen != SHOWN:
        yield f"with-nats shows {sorted(seen)}"


# Violations: what is written instead of what.
PLANTED = [
    ("all of the API", "$JS.API.STREAM.INFO.*", "$JS.API.>"),
    ("the subject of nobody", "p92.v1.federation_delivery.*", "p92.v1.federation-delivery.*"),
    ("the inbox of all", "_INBOX_posting.>", "_INBOX.>"),
]
