#!/usr/bin/env python3
"""A Cassandra of one or more nodes on this machine, without containers: fetched, started, stopped.

In: a directory for data and the wish for nodes. Out: one line of JSON that says where they listen. It must not know what
is stored in them. Python's standard library, a JDK 17 and Maven are all that it needs.

    cassandra.py start --dir DIR [--nodes 3] [--commitlog batch|periodic|group] [--authenticate]
                       [--tls-identity PEM --tls-ca PEM [--tls-require-client]]
    cassandra.py start --dir DIR --node 2      one node of a cluster that was started before
    cassandra.py stop  --dir DIR [--node 2] [--kill]
    cassandra.py fetch

Nodes take 127.0.0.1, 127.0.0.2 and so on with the same ports, which are found free. `stop` ends exactly what `start`
began: a process counts as ours when its id and its start time are those that were noted, and its command line names the
node's files.
"""

import argparse
import ctypes
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from processes import began, command_line, free_ports

VERSION = "5.0.6"
JAMM = "0.4.0"
# `prctl(2)`; looked up here, since little may be done between fork and exec.
LIBC, PR_SET_TIMERSLACK = ctypes.CDLL(None), 29
CACHE = pathlib.Path(os.environ.get("P92_CACHE", pathlib.Path.home() / ".cache" / "p92")) / f"cassandra-{VERSION}"
STATE = "cluster.json"
DATACENTER = "datacenter1"

POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>p92</groupId><artifactId>local-cassandra</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.cassandra</groupId><artifactId>cassandra-all</artifactId><version>{VERSION}</version></dependency>
    <dependency><groupId>com.github.jbellis</groupId><artifactId>jamm</artifactId><version>{JAMM}</version></dependency>
  </dependencies>
</project>
"""

LOGBACK = """<configuration>
  <appender name="FILE" class="ch.qos.logback.core.FileAppender">
    <file>${cassandra.logdir}/system.log</file>
    <encoder><pattern>%-5level [%thread] %date{ISO8601} %F:%L - %msg%n</pattern></encoder>
  </appender>
  <root level="INFO"><appender-ref ref="FILE"/></root>
</configuration>
"""

# What JDK 17 must open to Cassandra 5 (its own jvm17-server.options).
EXPORTS = [
    "java.base/jdk.internal.misc", "java.base/java.lang.ref", "java.base/jdk.internal.ref",
    "java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.rmi/sun.rmi.registry", "java.rmi/sun.rmi.server",
    "java.sql/java.sql", "jdk.unsupported/sun.misc", "jdk.compiler/com.sun.tools.javac.file",
]
OPENS = [
    *(f"java.base/{package}" for package in (
        "java.lang", "java.lang.module", "java.lang.reflect", "java.io", "java.util", "java.nio",
        "java.util.concurrent", "java.util.concurrent.atomic", "sun.nio.ch", "jdk.internal.loader",
        "jdk.internal.ref", "jdk.internal.reflect", "jdk.internal.math", "jdk.internal.module",
        "jdk.internal.util.jar")),
    "jdk.management/com.sun.management.internal", "jdk.compiler/com.sun.tools.javac",
]


class Failed(Exception):
    """Said to whoever called, without a trace."""


def fetch(cache=CACHE):
    """The folder of Cassandra's jars, brought from Maven's central repository once."""
    cache = pathlib.Path(cache)
    if (cache / "lib").is_dir():
        return cache / "lib"
    cache.parent.mkdir(parents=True, exist_ok=True)
    # Two who fetch at once: the second waits and finds what the first brought.
    with open(cache.parent / f".{cache.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (cache / "lib").is_dir():
            return cache / "lib"
        new = pathlib.Path(tempfile.mkdtemp(prefix=f".{cache.name}.", dir=cache.parent))
        try:
            (new / "pom.xml").write_text(POM)
            command = ["mvn", "-B", "-q", "dependency:copy-dependencies", "-DincludeScope=runtime",
                       f"-DoutputDirectory={new / 'lib'}"]
            done = subprocess.run(command, cwd=new, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if done.returncode != 0 or not (new / "lib" / f"cassandra-all-{VERSION}.jar").exists():
                raise Failed(f"Maven did not bring Cassandra {VERSION}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
            # All or nothing: whoever sees the folder sees it whole.
            new.rename(cache)
        except FileNotFoundError as error:
            raise Failed(f"Maven is needed to fetch Cassandra: {error}") from error
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return cache / "lib"


def addresses(count):
    return [f"127.0.0.{n}" for n in range(1, count + 1)]


def configuration(state, number):
    """cassandra.yaml of a node. JSON is YAML, so nothing needs to be quoted by hand."""
    node = state["nodes"][number - 1]
    home = pathlib.Path(state["dir"]) / f"node{number}"
    count = len(state["nodes"])
    commitlog = {
        "periodic": {"commitlog_sync": "periodic", "commitlog_sync_period": "10000ms"},
        "batch": {"commitlog_sync": "batch"},
        "group": {"commitlog_sync": "group", "commitlog_sync_group_window": "5ms"},
    }[state["commitlog"]]
    settings = {
        "cluster_name": "p92-local",
        "partitioner": "org.apache.cassandra.dht.Murmur3Partitioner",
        # Tokens are dealt out evenly, so that nodes of a new cluster need not stream to each other.
        "num_tokens": 1,
        "initial_token": str(-(2**63) + (number - 1) * (2**64 // count)),
        "auto_bootstrap": False,
        "endpoint_snitch": "SimpleSnitch",
        "seed_provider": [{
            "class_name": "org.apache.cassandra.locator.SimpleSeedProvider",
            # The first founds the cluster alone; each other one finds it by any that lives.
            "parameters": [{"seeds": ",".join(f"{one['host']}:{state['storage_port']}" for one in state["nodes"]
                                              if number == 1 and one is node or number > 1 and one is not node)}],
        }],
        "listen_address": node["host"],
        "rpc_address": node["host"],
        # Where clients are told that it is: at itself, or at somebody who stands between.
        "broadcast_rpc_address": node.get("told") or node["host"],
        "storage_port": state["storage_port"],
        "native_transport_port": state["port"],
        "data_file_directories": [str(home / "data")],
        "commitlog_directory": str(home / "commitlog"),
        "saved_caches_directory": str(home / "saved_caches"),
        "hints_directory": str(home / "hints"),
        **commitlog,
        # Two round trips for a conditional write instead of four.
        "paxos_variant": "v2",
        # A small machine under load must not lose requests to impatience; clients wait longer than this.
        "cas_contention_timeout": "5000ms",
        "write_request_timeout": "5000ms",
        "read_request_timeout": "5000ms",
        "auto_snapshot": False,
        "authenticator": {"class_name": "PasswordAuthenticator" if state["authenticate"] else "AllowAllAuthenticator"},
    }
    if state["tls"]:
        tls = state["tls"]
        settings["client_encryption_options"] = {
            "enabled": True,
            "optional": False,
            "require_client_auth": tls["require_client"],
            "ssl_context_factory": {"class_name": "org.apache.cassandra.security.PEMBasedSslContextFactory"},
            "keystore": tls["identity"],
            "truststore": tls["ca"],
        }
    return json.dumps(settings, indent=1)


def command(state, number, lib):
    home = pathlib.Path(state["dir"]) / f"node{number}"
    return [
        os.environ.get("P92_JAVA", "java"), "-Xms512m", "-Xmx1g", "-Xss512k",
        # A node that lives for minutes beside others on two cores is there in a third of the time, and serves as well, if it
        # does not compile for the long run.
        *os.environ.get("P92_JAVA_OPTIONS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1").split(),
        f"-javaagent:{lib / f'jamm-{JAMM}.jar'}",
        "-Djdk.attach.allowAttachSelf=true", "-Dio.netty.tryReflectionSetAccessible=true",
        f"-Dcassandra.config=file://{home / 'cassandra.yaml'}", f"-Dcassandra.storagedir={home}",
        f"-Dcassandra.logdir={home / 'logs'}", f"-Dcassandra.triggers_dir={home / 'triggers'}",
        f"-Dlogback.configurationFile={home / 'logback.xml'}", "-Dcassandra-foreground=yes",
        # Whoever comes back gives up if no other node answers for so long; alone there is nobody to wait for.
        "-Dcassandra.skip_wait_for_gossip_to_settle=0", f"-Dcassandra.ring_delay_ms={100 if len(state['nodes']) == 1 else 30000}",
        "-Dcassandra.superuser_setup_delay_ms=0",
        *(f"--add-exports={name}=ALL-UNNAMED" for name in EXPORTS),
        *(f"--add-opens={name}=ALL-UNNAMED" for name in OPENS),
        "-cp", f"{lib}/*", "org.apache.cassandra.service.CassandraDaemon",
    ]


def is_ours(node, home):
    """Whether the noted process lives, and is the node whose files are there."""
    if node.get("pid") is None or began(node["pid"]) != node.get("began"):
        return False
    return f"-Dcassandra.storagedir={home}" in (command_line(node["pid"]) or ())


def sleep_soundly():
    """Lets the kernel wake what is begun here up to a millisecond late.

    Cassandra's threads without work sleep for microseconds at a time (`SEPWorker.doWaitSpin`): three nodes on two cores switched
    93,000 times a second and acknowledged half as much. Whoever is given work is woken at once all the same.
    """
    LIBC.prctl(PR_SET_TIMERSLACK, 1_000_000, 0, 0, 0)


def launch(state, number, lib):
    home = pathlib.Path(state["dir"]) / f"node{number}"
    for folder in ("data", "commitlog", "saved_caches", "hints", "logs", "triggers"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    (home / "cassandra.yaml").write_text(configuration(state, number))
    (home / "logback.xml").write_text(LOGBACK)
    with open(home / "logs" / "output.log", "ab") as output:
        # Its own session: it outlives this program, and a Ctrl-C meant for others does not reach it.
        process = subprocess.Popen(command(state, number, lib), cwd=home, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=output, start_new_session=True, preexec_fn=sleep_soundly)
    node = state["nodes"][number - 1]
    node["pid"], node["began"] = process.pid, began(process.pid)
    save(state)
    return process


def answers(state, number):
    """Whether CQL is spoken: an OPTIONS frame is answered. Over TLS, whether a handshake begins."""
    node = state["nodes"][number - 1]
    try:
        with socket.create_connection((node["host"], state["port"]), timeout=2) as plain:
            if state["tls"]:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                try:
                    context.wrap_socket(plain).close()
                except ssl.SSLError:
                    pass
                return True
            plain.sendall(bytes([4, 0, 0, 0, 5, 0, 0, 0, 0]))
            return plain.recv(9)[4:5] == b"\x06"
    except OSError:
        return False


def log_of(state, number):
    logs = pathlib.Path(state["dir"]) / f"node{number}" / "logs"
    parts = (logs / name for name in ("system.log", "output.log"))
    return "".join(part.read_text(errors="replace") for part in parts if part.exists())


def wait(state, numbers, processes, seen, limit):
    """Until the nodes answer and each sees all others. `seen` is how much of each log is from earlier starts."""
    deadline = time.monotonic() + limit
    others = len(state["nodes"]) - 1 if len(numbers) == len(state["nodes"]) else 0
    waiting = list(numbers)
    while waiting:
        for number in list(waiting):
            process = processes[number]
            if process.poll() is not None:
                raise Failed(f"node {number} ended with {process.returncode}:\n{log_of(state, number)[-3000:]}")
            if answers(state, number):
                up = set(re.findall(r"(127\.0\.0\.\d+):\d+ is now UP", log_of(state, number)[seen[number]:]))
                if len(up) >= others:
                    waiting.remove(number)
        if time.monotonic() > deadline:
            raise Failed(f"nodes {waiting} do not answer after {limit} s:\n{log_of(state, waiting[0])[-3000:]}")
        if waiting:
            time.sleep(0.2)


def save(state):
    path = pathlib.Path(state["dir"]) / STATE
    new = path.with_suffix(".new")
    new.write_text(json.dumps(state, indent=1) + "\n")
    new.replace(path)


def load(directory):
    path = pathlib.Path(directory).resolve() / STATE
    try:
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise Failed(f"no cluster was started in {directory}") from error


def answer(state):
    nodes = [{"address": f"{node['host']}:{state['port']}", "pid": node["pid"]} for node in state["nodes"]]
    return {"nodes": nodes, "dir": state["dir"], "datacenter": DATACENTER}


def start(directory, nodes=1, commitlog="periodic", authenticate=False, tls=None, node=None, limit=240, cache=CACHE,
          told=None):
    """Starts a cluster, or what is missing of one that was started in `directory` before. Returns its description.

    `told`: the addresses at which clients are told that the nodes are, with the same port; somebody else listens there.
    """
    lib = fetch(cache)
    directory = pathlib.Path(directory).resolve()
    directory.mkdir(parents=True, exist_ok=True)
    known = (directory / STATE).exists()
    for attempt in range(3):
        if known:
            state = load(directory)
        else:
            hosts = addresses(nodes)
            port, storage_port = free_ports(2, hosts)
            state = {"dir": str(directory), "port": port, "storage_port": storage_port, "commitlog": commitlog,
                     "authenticate": authenticate, "tls": tls, "nodes": [{"host": host} for host in hosts]}
            for one, address in zip(state["nodes"], told or ()):
                one["told"] = address
        launched = []
        try:
            return start_once(state, node, lib, limit, launched)
        except Failed as error:
            # Those that ran before have nothing to do with it.
            for number in launched:
                stop(directory, number, kill=True)
            if known or attempt == 2 or "already in use" not in str(error).lower():
                raise
            for number in range(1, nodes + 1):
                shutil.rmtree(directory / f"node{number}", ignore_errors=True)
            (directory / STATE).unlink()


def start_once(state, node, lib, limit, launched):
    """Starts what is missing, and notes in `launched` which nodes that was."""
    home = pathlib.Path(state["dir"])
    wanted = [node] if node else range(1, len(state["nodes"]) + 1)
    missing = [number for number in wanted if not is_ours(state["nodes"][number - 1], home / f"node{number}")]
    seen = {number: len(log_of(state, number)) for number in missing}
    processes = {}
    # The seed first: nodes that find nobody would each found a cluster of their own.
    for group in ([n for n in missing if n == 1], [n for n in missing if n != 1]):
        for number in group:
            processes[number] = launch(state, number, lib)
            launched.append(number)
        if group == [1] and len(missing) > 1:
            deadline = time.monotonic() + limit
            while not answers(state, 1) and processes[1].poll() is None and time.monotonic() < deadline:
                time.sleep(0.2)
    wait(state, missing, processes, seen, limit)
    return answer(state)


def stop(directory, node=None, kill=False, limit=30):
    """Ends the nodes that `start` began, and nothing else. Returns the ids of those that it ended."""
    state = load(directory)
    home = pathlib.Path(state["dir"])
    ended = []
    for number, one in enumerate(state["nodes"], 1):
        if node not in (None, number) or not is_ours(one, home / f"node{number}"):
            continue
        os.kill(one["pid"], signal.SIGKILL if kill else signal.SIGTERM)
        ended.append((one, home / f"node{number}"))
    deadline = time.monotonic() + limit
    for one, place in ended:
        while is_ours(one, place):
            if time.monotonic() > deadline:
                os.kill(one["pid"], signal.SIGKILL)
            time.sleep(0.05)
    return [one["pid"] for one, _ in ended]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--cache", default=CACHE, type=pathlib.Path, help="where Cassandra is kept once fetched")
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("fetch")
    begin = actions.add_parser("start")
    begin.add_argument("--nodes", type=int, default=1)
    begin.add_argument("--commitlog", choices=["batch", "periodic", "group"], default="periodic")
    begin.add_argument("--authenticate", action="store_true", help="ask for user and password: cassandra, cassandra")
    begin.add_argument("--tls-identity", help="PEM file of the nodes' certificates and their PKCS 8 key")
    begin.add_argument("--tls-ca", help="PEM file of those who may sign clients' certificates")
    begin.add_argument("--tls-require-client", action="store_true")
    begin.add_argument("--wait", type=int, default=240, help="seconds until the nodes must answer")
    end = actions.add_parser("stop")
    end.add_argument("--kill", action="store_true", help="without warning, as a crash would")
    for action in (begin, end):
        action.add_argument("--dir", required=True)
        action.add_argument("--node", type=int, help="this one only, from 1")
    given = parser.parse_args()
    try:
        if given.action == "fetch":
            print(json.dumps({"lib": str(fetch(given.cache))}))
        elif given.action == "stop":
            print(json.dumps({"ended": stop(given.dir, given.node, given.kill)}))
        else:
            tls = None
            if given.tls_identity:
                tls = {"identity": os.path.abspath(given.tls_identity),
                       "ca": os.path.abspath(given.tls_ca or given.tls_identity),
                       "require_client": given.tls_require_client}
            print(json.dumps(start(given.dir, given.nodes, given.commitlog, given.authenticate, tls, given.node,
                                   given.wait, given.cache)), flush=True)
    except Failed as error:
        print(f"cassandra.py: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
