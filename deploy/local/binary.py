"""The binary of P92: built where it is needed, and asked at its ops listener whether it serves. It starts nothing."""

import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Trouble(Exception):
    """Something that the caller can do something about; its words say what."""


def readiness(port):
    """Whether the process whose ops listener is there serves, and what it says if not."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        report = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        return False, f"its ops listener does not answer: {error}"
    finally:
        connection.close()
    unmet = [one for one in report["conditions"] if not one["met"]]
    why = "; ".join(f"{one['name']}: {one.get('reason') or 'not met'}" for one in unmet)
    return answer.status == 200, why or report["phase"]


def build(release):
    """Builds the binary and says where it is."""
    if not shutil.which("cargo"):
        raise Trouble("cargo is missing: install Rust (https://rustup.rs), or name a binary with --binary")
    command = ["cargo", "build", "-p", "p92-node", *(["--release"] if release else [])]
    if subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode != 0:
        raise Trouble("the binary was not built; what is wrong stands above")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return (ROOT / target / ("release" if release else "debug") / "p92").resolve()
