"""That `deploy/local/down` ends what `up` started and nothing else: notes of processes, true ones and forged ones."""

import pathlib
import signal
import sys
import tempfile

from node import ROOT

sys.path.append(str(ROOT / "deploy" / "local"))
import processes  # noqa: E402

SLEEPS = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]
DEAF = [sys.executable, "-c",
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True); time.sleep(600)"]


class Begun:
    """A process that has said that it is there; it does not outlive the test, whatever comes of it."""

    def __init__(self, command: list[str], folder: str):
        self.log = pathlib.Path(folder) / "log"
        self.log.unlink(missing_ok=True)
        self.child, self.note = processes.launch(command, None, self.log)
        while self.log.read_text() != "here\n":
            assert self.child.poll() is None, self.log.read_text()

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.child.kill()
        self.child.wait()


def forged_notes_signal_nobody(folder: str) -> None:
    with Begun(SLEEPS, folder) as begun:
        others = [begun.note | {"began": begun.note["began"] - 1}, begun.note | {"command": [*begun.note["command"], "x"]}]
        for note in [None, *others]:
            assert not processes.runs(note), note
        assert not any(processes.send(note, signal.SIGKILL) for note in others)
        assert processes.end(others, 5) == []
        assert begun.child.poll() is None, "a process was ended by a note that is not its own"
        assert processes.runs(begun.note) and processes.end([begun.note], 5) == []
        assert begun.child.wait() == -signal.SIGTERM


def paused_and_deaf_ones_end(folder: str) -> None:
    with Begun(SLEEPS, folder) as begun:
        assert processes.send(begun.note, signal.SIGSTOP)
        assert processes.end([begun.note], 5) == [] and begun.child.wait() == -signal.SIGTERM
    with Begun(DEAF, folder) as begun:
        assert processes.end([begun.note], 0.2) == [begun.note] and begun.child.wait() == -signal.SIGKILL
        assert not processes.runs(begun.note)


def a_script_and_one_that_ends_at_once(folder: str) -> None:
    script = pathlib.Path(folder) / "script"
    script.write_text("#!/bin/sh\necho here\nread forever < /dev/zero\n")
    script.chmod(0o755)
    for _ in range(20):
        # Noted in the midst of its beginning, and known all the same.
        with Begun([str(script)], folder) as begun:
            assert processes.runs(begun.note), begun.note
    child, note = processes.launch(["true"], None, pathlib.Path(folder) / "log")
    child.wait()
    assert not processes.runs(note)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        forged_notes_signal_nobody(folder)
        paused_and_deaf_ones_end(folder)
        a_script_and_one_that_ends_at_once(folder)
    ports = processes.free_ports(50, ("127.0.0.1", "127.0.0.2"))
    assert len(set(ports)) == 50
    print("processes: forged notes signal nobody, true ones end theirs: passed")


if __name__ == "__main__":
    main()
