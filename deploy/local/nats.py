#!/usr/bin/env python3
"""A NATS server with JetStream on this machine, without containers: gets it, starts it, ends exactly what was started.

    nats.py get                      the program, built if it is missing or too old; prints where it is
    nats.py start --dir DIR          one server with its data under DIR; prints one line of JSON: address, monitor, pid, dir
    nats.py stop --dir DIR           ends the server that was started for DIR, and no other; --kill as a crash would

As a module: `get()`, `start(dir, ...)`, `stop(dir)`. Standard library only. It listens on loopback unless told otherwise,
and on a port that is free unless told which (the one it had, for a restart). It knows nothing of P92: streams are made by
the services. A server that was started here already is found again, not started twice.
"""

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from processes import began, command_line

MODULE = "github.com/nats-io/nats-server/v2"
VERSION = "v2.12.1"
OLDEST = (2, 12)
CACHE = Path(os.environ.get("P92_CACHE", Path.home() / ".cache" / "p92")) / "bin"
STATE, CONFIGURATION = "nats.json", "nats.conf"


class Trouble(Exception):
    """Something that the caller can do something about; its words say what."""


def version(program):
    """The version of that program as numbers, or None if it is none."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"v?(\d+)\.(\d+)\.(\d+)", said)
    return tuple(int(part) for part in found.groups()) if found else None


def is_good(program):
    """Whether that program is new enough."""
    found = version(program)
    return found is not None and found[:2] >= OLDEST


def get(cache=CACHE):
    """Where the program is; built into the cache if there is none that is new enough. One process builds, others wait."""
    cache = Path(cache)
    program = cache / "nats-server"
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / ".nats-server.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_good(program):
            return program
        if not shutil.which("go"):
            raise Trouble(f"{program} is missing or too old, and there is no `go` to build it with")
        said = subprocess.run(
            ["go", "install", f"{MODULE}@{VERSION}"],
            env=os.environ | {"GOBIN": str(cache), "CGO_ENABLED": "0"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if said.returncode != 0 or not is_good(program):
            raise Trouble(f"`go install {MODULE}@{VERSION}` failed:\n{said.stdout}")
        return program


def quoted(text):
    """A string of the server's configuration language."""
    return json.dumps(str(text))


def configuration(data, user, password, tls):
    """The text of the configuration. Secrets stand in it and not among the arguments, which everybody can read."""
    # What it has counted can be asked for without a password, so the monitor never leaves this machine.
    lines = [f"jetstream {{ store_dir: {quoted(data)} }}", 'http: "127.0.0.1:-1"']
    if user:
        lines.append(f"authorization {{ users = [ {{ user: {quoted(user)}, password: {quoted(password)} }} ] }}")
    if tls:
        parts = [f"cert_file: {quoted(tls['cert'])}", f"key_file: {quoted(tls['key'])}"]
        if tls.get("ca"):
            parts += [f"ca_file: {quoted(tls['ca'])}", "verify: true"]
        lines.append("tls { " + ", ".join(parts) + " }")
    return "\n".join(lines) + "\n"


def named_by(directory):
    """The words of a command line by which a server is that of the directory, and no other's."""
    return ["-c", str(Path(directory).resolve() / CONFIGURATION)]


def running(directory):
    """The server that was started for that directory, as `start` printed it; None if none runs.

    It is known by its id, the moment of its start and its command line, so that a note of a process that is gone, or of
    another one, ends nobody.
    """
    try:
        state = json.loads((Path(directory) / STATE).read_text(encoding="utf-8"))
        if began(state["pid"]) != state["began"]:
            return None
    except (OSError, ValueError, KeyError):
        return None
    words = command_line(state["pid"]) or []
    return state if named_by(directory) in [words[at:at + 2] for at in range(len(words))] else None


def answers(host, port):
    """Whether a NATS server with JetStream greets there. The greeting comes before TLS and before any password."""
    try:
        with socket.create_connection((host, port), timeout=1) as greeted:
            line = greeted.makefile("rb").readline()
    except OSError:
        return False
    return line.startswith(b"INFO ") and json.loads(line[5:]).get("jetstream") is True


def told_port(ports, pid, listener):
    """The port of a listener that the server wrote into its folder for ports, or None."""
    try:
        told = json.loads((ports / f"nats-server_{pid}.ports").read_text(encoding="utf-8"))
        return int(told[listener][0].rpartition(":")[2])
    except (OSError, ValueError, KeyError, IndexError):
        return None


def wait(process, host, ports, log, seconds):
    """Waits until the server answers, and says on which port, and on which one it tells what it has counted."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if process.poll() is not None:
            raise Trouble(f"nats-server ended at once:\n{log.read_text(encoding='utf-8', errors='replace')}")
        port, monitor = (told_port(ports, process.pid, listener) for listener in ("nats", "monitoring"))
        if port and monitor and answers(host, port):
            return port, monitor
        time.sleep(0.02)
    raise Trouble(f"nats-server does not answer within {seconds} s:\n{log.read_text(encoding='utf-8', errors='replace')}")


def start(directory, port=None, host="127.0.0.1", user=None, password=None, tls=None, program=None, seconds=30):
    """Starts a server with everything it writes under `directory`, and waits until it answers.

    `port`: None takes a free one. `tls`: {"cert", "key"} and, to ask clients for certificates, {"ca"}.
    """
    directory = Path(directory).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if found := running(directory):
            return found
        ports = directory / "ports"
        shutil.rmtree(ports, ignore_errors=True)
        ports.mkdir()
        conf = directory / CONFIGURATION
        with contextlib.suppress(FileNotFoundError):
            conf.unlink()
        with open(os.open(conf, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as written:
            written.write(configuration(directory / "data", user, password, tls))
        log = directory / "nats.log"
        with open(log, "w", encoding="utf-8") as into:
            process = subprocess.Popen(
                [
                    str(program or get()), *named_by(directory), "-a", host, "-p", str(port or -1),
                    "--ports_file_dir", str(ports),
                ],
                stdin=subprocess.DEVNULL,
                stdout=into,
                stderr=into,
                # Lives on when the terminal closes or the caller is interrupted, until `stop`.
                start_new_session=True,
            )
        try:
            found, monitor = wait(process, host, ports, log, seconds)
        except BaseException:
            process.kill()
            process.wait()
            raise
        state = {"address": f"{host}:{found}", "monitor": f"127.0.0.1:{monitor}", "pid": process.pid, "dir": str(directory)}
        (directory / STATE).write_text(json.dumps(state | {"began": began(process.pid)}), encoding="utf-8")
        return state


def stop(directory, seconds=15, kill=False):
    """Ends the server of that directory: politely, then not; at once if it shall be killed. Whether there was one."""
    found = running(directory)
    if not found:
        return False
    for name in (signal.SIGKILL,) if kill else (signal.SIGTERM, signal.SIGKILL):
        # Looked at again just before each signal: the id of a process that is gone may be another's.
        until = time.monotonic() + seconds
        if running(directory):
            with contextlib.suppress(ProcessLookupError):
                os.kill(found["pid"], name)
        while time.monotonic() < until:
            # If it is our own child it stays a zombie until somebody asks for it.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(found["pid"], os.WNOHANG)
            if not running(directory):
                (Path(directory) / STATE).unlink(missing_ok=True)
                return True
            time.sleep(0.02)
    raise Trouble(f"process {found['pid']} does not end")


def arguments():
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("get", "start"):
        command = commands.add_parser(name)
        command.add_argument("--cache", type=Path, default=CACHE, help="where the program is kept (%(default)s)")
        if name == "start":
            command.add_argument("--dir", type=Path, required=True, help="everything that the server writes")
            command.add_argument("--port", type=int, help="a port; without it a free one")
            command.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
            command.add_argument("--program", type=Path, help="a nats-server to run instead of the cached one")
            command.add_argument("--user", help="the one user who may connect; needs --password-file")
            command.add_argument("--password-file", type=Path)
            command.add_argument("--tls-cert", type=Path, help="the server's certificate; needs --tls-key")
            command.add_argument("--tls-key", type=Path)
            command.add_argument("--tls-ca", type=Path, help="clients need a certificate of this authority")
    end = commands.add_parser("stop")
    end.add_argument("--dir", type=Path, required=True)
    end.add_argument("--kill", action="store_true", help="without warning, as a crash would")
    chosen = parser.parse_args()
    if chosen.command == "start":
        if bool(chosen.user) != bool(chosen.password_file):
            parser.error("--user and --password-file go together")
        if bool(chosen.tls_cert) != bool(chosen.tls_key) or (chosen.tls_ca and not chosen.tls_cert):
            parser.error("--tls-cert and --tls-key go together, and --tls-ca needs them")
    return chosen


def main():
    """The command line."""
    chosen = arguments()
    if chosen.command == "get":
        print(get(chosen.cache))
    elif chosen.command == "stop":
        print(json.dumps({"dir": str(chosen.dir), "stopped": stop(chosen.dir, kill=chosen.kill)}))
    else:
        tls = {"cert": chosen.tls_cert.resolve(), "key": chosen.tls_key.resolve()} if chosen.tls_cert else None
        if tls and chosen.tls_ca:
            tls["ca"] = chosen.tls_ca.resolve()
        password = chosen.password_file.read_text(encoding="utf-8").rstrip("\r\n") if chosen.password_file else None
        state = start(
            chosen.dir,
            port=chosen.port,
            host=chosen.host,
            user=chosen.user,
            password=password,
            tls=tls,
            program=chosen.program or get(chosen.cache),
        )
        print(json.dumps({name: state[name] for name in ("address", "monitor", "pid", "dir")}))


if __name__ == "__main__":
    try:
        main()
    except (Trouble, OSError) as trouble:
        sys.exit(f"nats.py: {trouble}")
