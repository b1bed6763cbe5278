"""Processes of this machine that outlive whoever started them.

In: a command and where its output goes. Out: a note by which the process is known again, by whoever reads the note, until
it ends. A process counts as the noted one when its id, the moment of its start and its command line are those of the note;
no other is ever signalled. It refuses to know what the processes are for.
"""

import contextlib
import os
import pathlib
import random
import signal
import socket
import subprocess
import time


def began(pid):
    """When a process began, in the kernel's ticks: with the id it names a process for ever. None if it is gone."""
    try:
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


def runs(note):
    """Whether the noted process lives."""
    # One that had ended before it was noted has no beginning, and runs no more.
    if not note or note["began"] is None or began(note["pid"]) != note["began"]:
        return False
    return command_line(note["pid"]) == note["command"]


def command_line(pid):
    """The words of a process's command line; None if it is gone."""
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except OSError:
        return None
    return [os.fsdecode(word) for word in words]


def launch(command, environment, log):
    """Begins a process with its output at the end of `log`: the child, and the note of it."""
    with open(log, "ab") as output:
        # Its own session: it outlives this program, and a Ctrl-C meant for others does not reach it.
        child = subprocess.Popen([str(word) for word in command], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                 start_new_session=True)
    # Popen comes back in the midst of `exec`: the old command line is gone, and the new one comes a moment later. It is the
    # kernel's that is noted, since a script's names its shell.
    while not (words := command_line(child.pid)) and began(child.pid) is not None:
        time.sleep(0.001)
    return child, {"pid": child.pid, "began": began(child.pid), "command": words}


def send(note, name):
    """Signals the noted process; whether there was one."""
    if not runs(note):
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(note["pid"], name)
    return True


def wait_for_end(notes, seconds):
    """Waits until all are gone; those that are not."""
    until = time.monotonic() + seconds
    while left := [note for note in notes if runs(note)]:
        if time.monotonic() > until:
            return left
        time.sleep(0.02)
    return []


def end(notes, seconds):
    """Ends them politely, then not; those that had to be killed."""
    for note in notes:
        send(note, signal.SIGTERM)
        # One that is paused would hear it never.
        send(note, signal.SIGCONT)
    stubborn = wait_for_end(notes, seconds)
    for note in stubborn:
        send(note, signal.SIGKILL)
    if left := wait_for_end(stubborn, 10):
        raise TimeoutError(f"processes {[note['pid'] for note in left]} do not end even by SIGKILL")
    return stubborn


def free_ports(count, hosts=("127.0.0.1",)):
    """Ports that are free on every one of these addresses, below those that the kernel gives to outgoing connections: a
    process that is started again later would otherwise find a connection of somebody else on its port."""
    try:
        first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        first = 32768
    found = []
    candidates = random.sample(range(min(10_000, first // 2), first), k=min(5_000, first // 4))
    for port in candidates:
        if is_free(port, hosts):
            found.append(port)
        if len(found) == count:
            return found
    raise OSError(f"{count} free ports were not found")


def is_free(port, hosts=("127.0.0.1",)):
    """Whether a server of ours could listen there. Somebody may still take it before we do."""
    for host in hosts:
        with socket.socket() as probe:
            # As servers do, so that a port whose last connections still time out counts as free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                return False
    return True


def last_lines(path, count=12):
    """The end of a log."""
    try:
        text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "(there is no log)"
    return "\n".join(line[:400] for line in text.rstrip().splitlines()[-count:]) or "(the log is empty)"
