"""A process between services and their store and bus: it passes everything on, until it is told to hinder somebody.

    python tests/client/proxy.py '{"store": [["127.0.1.1:9042", "127.0.0.1:9042"]], "bus": ["127.0.0.1:5000", "127.0.0.1:4222"]}'

Commands come as lines of JSON on the input, each is answered by one on the output. Whom a connection belongs to is told by
the kernel: it is the process that holds the other end. Of CQL it reads frames, so that one append can be taken out of a
connection and put back later; of NATS the messages that are published, so that some can be doubled and put out of order.

    hinder  how, side, pid      `stall`: nothing passes, connections stay, new ones are taken and get nothing;
                                `cut`: connections are reset and new ones refused; `slow`: 200 ms each way;
                                `shuffle` (bus): one message of ten is doubled and one of ten comes after the next
    free                        ends all of that
    hold    pid, what, ...      takes out the next `append` to a log (service, shard) or the next `checkpoint`
    held                        what was taken out, if it was: {"group": ...}
    release                     puts it back: sent to the store now, where the client is not asked
    decided                     whether the store has answered what was put back
    drop                        what was taken out, or should be, is forgotten
    counts                      connections, frames, doubled and reordered messages so far

It refuses to know why, and keeps the order of everything that it was not told to hold.
"""

import asyncio
import contextlib
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import threading

CHUNK = 256 * 1024
SLOWER = 0.2
PREPARE, EXECUTE, RESULT = 0x09, 0x0A, 0x08
PREPARED = 4


def sockets(pid: int) -> set[str]:
    """The kernel's numbers of the sockets that a process holds."""
    found = set()
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                where = os.readlink(f"/proc/{pid}/fd/{name}")
                if where.startswith("socket:["):
                    found.add(where[8:-1])
    return found


def ports(pid: int) -> set[int]:
    """From which ports a process is connected to others."""
    held, found = sockets(pid), set()
    for line in pathlib.Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        fields = line.split()
        if fields[9] in held:
            found.add(int(fields[1].rpartition(":")[2], 16))
    return found


class Frames:
    """Cuts a stream of CQL into frames: 9 bytes of head, whose last four are the length of the body."""

    def __init__(self):
        self.rest = b""

    def take(self, data: bytes) -> list[bytes]:
        data, frames, at = self.rest + data, [], 0
        while len(data) - at >= 9:
            end = at + 9 + int.from_bytes(data[at + 5:at + 9], "big")
            if end > len(data):
                break
            frames.append(data[at:end])
            at = end
        self.rest = data[at:]
        return frames


class Published:
    """Cuts what a NATS client sends into messages that it publishes, and all the rest."""

    def __init__(self):
        self.rest = b""

    def take(self, data: bytes) -> list[tuple[bool, bytes]]:
        data, parts = self.rest + data, []
        while (line := data.find(b"\r\n")) >= 0:
            words, end = data[:line].split(), line + 2
            message = bool(words) and words[0].upper() in (b"PUB", b"HPUB")
            if message:
                end += int(words[-1]) + 2
                if end > len(data):
                    break
            # Only groups of logs: requests to the server itself stay as they are.
            parts.append((message and words[1].startswith(b"p92.v1."), data[:end]))
            data = data[end:]
        self.rest = data
        return parts


def bound(body: bytes) -> tuple[bytes, list[bytes]]:
    """The statement and the values of an EXECUTE of version 4, without names."""
    size = int.from_bytes(body[:2], "big")
    statement, at = body[2:2 + size], 2 + size + 2
    flags, at = body[at], at + 1
    values = []
    if flags & 1:
        count, at = int.from_bytes(body[at:at + 2], "big"), at + 2
        for _ in range(count):
            length, at = struct.unpack_from(">i", body, at)[0], at + 4
            values.append(body[at:at + max(length, 0)])
            at += max(length, 0)
    return statement, values


class Connection:
    """One client's connection and the one that stands for it at the server."""

    def __init__(self, proxy: "Proxy", side: str, port: int, back: asyncio.StreamWriter, front: asyncio.StreamWriter):
        self.proxy, self.side, self.port, self.back, self.front = proxy, side, port, back, front
        self.asked, self.answered, self.published = Frames(), Frames(), Published()
        self.preparing: dict[bytes, str] = {}
        self.late: bytes | None = None

    def hindered(self) -> str | None:
        for how, side, mine in self.proxy.hindrances:
            if side == self.side and (mine is None or self.port in mine):
                return how
        return None

    async def gate(self) -> None:
        """Waits as long as whoever hinders wants."""
        while (how := self.hindered()) == "stall":
            await self.proxy.changed()
        if how == "slow":
            # What comes meanwhile goes with what comes next, so no queue grows.
            await asyncio.sleep(SLOWER)

    def forward(self, data: bytes) -> bytes:
        """What the server gets of what the client says."""
        if self.side == "store":
            return b"".join(frame for frame in self.asked.take(data) if not self._kept(frame))
        parts, out = self.published.take(data), []
        for message, part in parts:
            out += self._shuffled(part) if message and self.hindered() == "shuffle" else [part]
            if not message and self.late:
                out, self.late = [*out, self.late], None
        return b"".join(out)

    def _shuffled(self, part: bytes) -> list[bytes]:
        late, self.late = self.late, None
        draw = self.proxy.chance.random()
        if draw < 0.1 and late is None:
            self.late = part
            self.proxy.counts["reordered"] += 1
            return []
        if draw > 0.9:
            self.proxy.counts["doubled"] += 1
            return [part, part] + ([late] if late else [])
        return [part] + ([late] if late else [])

    def _kept(self, frame: bytes) -> bool:
        """Notes what is prepared; takes out what is to be held."""
        self.proxy.counts["frames"] += 1
        if frame[4] == PREPARE:
            size = int.from_bytes(frame[9:13], "big")
            self.preparing[frame[2:4]] = frame[13:13 + size].decode(errors="replace")
        wanted = self.proxy.wanted
        if wanted is None or frame[4] != EXECUTE or self.port not in wanted["ports"]:
            return False
        statement, values = bound(frame[9:])
        if not wanted["fits"](self.proxy.statements.get(statement, ""), values):
            return False
        self.proxy.wanted = None
        self.proxy.held = {"frame": frame, "by": self, "group": values[5].hex() if len(values) > 5 else "", "decided": False}
        return True

    def backward(self, data: bytes) -> None:
        """Looks at what the server answers."""
        if self.side != "store":
            return
        for frame in self.answered.take(data):
            stream = frame[2:4]
            if stream in self.preparing:
                text = self.preparing.pop(stream)
                if frame[4] == RESULT and int.from_bytes(frame[9:13], "big") == PREPARED:
                    size = int.from_bytes(frame[13:15], "big")
                    self.proxy.statements[frame[15:15 + size]] = text
            held = self.proxy.held
            if held and held.get("sent") and held["by"] is self and held["frame"][2:4] == stream:
                held["decided"] = True


class Proxy:
    """All connections, and what is done to them."""

    def __init__(self, given: dict):
        self.given, self.connections = given, set()
        self.hindrances: list[tuple[str, str, set | None]] = []
        self.statements: dict[bytes, str] = {}
        self.wanted, self.held = None, None
        self.counts = {"connections": 0, "frames": 0, "doubled": 0, "reordered": 0}
        self.chance = random.Random(given.get("seed", 1))
        self.pids: dict[int, int | None] = {}
        self.change = asyncio.Event()

    async def changed(self) -> None:
        await self.change.wait()

    async def run(self) -> None:
        servers = []
        for side, pairs in (("store", self.given["store"]), ("bus", [self.given["bus"]])):
            for here, there in pairs:
                host, _, port = here.rpartition(":")
                serve = lambda reader, writer, side=side, there=there: self._serve(side, there, reader, writer)
                servers.append(await asyncio.start_server(serve, host, int(port), limit=CHUNK))
        print(json.dumps({"listens": True}), flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        # Whoever started it is gone when the input ends.
        while line := await reader.readline():
            print(json.dumps(self.obey(json.loads(line))), flush=True)

    async def _serve(self, side: str, there: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = writer.get_extra_info("peername")[1]
        for index, (how, hindered, mine) in enumerate(self.hindrances):
            pid = self.pids.get(index)
            if hindered == side and mine is not None and pid and port in ports(pid):
                mine.add(port)
        if self.wanted and self.wanted["pid"] and port in ports(self.wanted["pid"]):
            self.wanted["ports"].add(port)
        host, _, number = there.rpartition(":")
        try:
            answers, back = await asyncio.open_connection(host, int(number), limit=CHUNK)
        except OSError:
            writer.transport.abort()
            return
        one = Connection(self, side, port, back, writer)
        if one.hindered() == "cut":
            writer.transport.abort()
            back.transport.abort()
            return
        self.counts["connections"] += 1
        self.connections.add(one)
        try:
            await asyncio.gather(self._pump(one, reader, back, True), self._pump(one, answers, writer, False))
        finally:
            self.connections.discard(one)
            for end in (writer, back):
                end.transport.abort()

    async def _pump(self, one: Connection, reader, writer, asking: bool) -> None:
        try:
            while data := await reader.read(CHUNK):
                await one.gate()
                if asking:
                    data = one.forward(data)
                else:
                    one.backward(data)
                if data:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass
        finally:
            # An end of one direction is the end of both, once what was said has gone out.
            with contextlib.suppress(OSError, RuntimeError):
                writer.close()

    def obey(self, command: dict) -> dict:
        do = command.pop("do")
        try:
            return {"ok": getattr(self, f"do_{do}")(**command)}
        except Exception as error:  # Whoever asked is told; everything else goes on.
            return {"error": f"{type(error).__name__}: {error}"}

    def _turn(self) -> None:
        self.change.set()
        self.change = asyncio.Event()

    def do_hinder(self, how: str, side: str, pid: int | None = None) -> int:
        mine = ports(pid) if pid else None
        self.pids[len(self.hindrances)] = pid
        self.hindrances.append((how, side, mine))
        met = [one for one in self.connections if one.hindered() == how]
        if how == "cut":
            for one in met:
                for end in (one.front, one.back):
                    end.transport.abort()
        self._turn()
        return len(met)

    def do_free(self) -> None:
        self.hindrances, self.pids = [], {}
        self._turn()

    def do_hold(self, pid: int, what: str, service: str = "", shard: int = 0) -> None:
        def append(text: str, values: list[bytes]) -> bool:
            return ".p92_log " in text and "IF NOT EXISTS" in text and values[:2] == [service.encode(), shard.to_bytes(4, "big")]

        def checkpoint(text: str, values: list[bytes]) -> bool:
            return text.startswith("INSERT") and "USING TIMESTAMP" in text and values[:1] == [b"eventlog_checkpoints"]

        fits = {"append": append, "checkpoint": checkpoint}[what]
        self.wanted = {"pid": pid, "ports": ports(pid), "fits": fits}

    def do_held(self) -> dict | None:
        return {"group": self.held["group"]} if self.held else None

    def do_release(self) -> None:
        self.held["sent"] = True
        self.held["by"].back.write(self.held["frame"])

    def do_decided(self) -> bool:
        return self.held["decided"]

    def do_drop(self) -> None:
        self.wanted, self.held = None, None

    def do_counts(self) -> dict:
        return self.counts


class Remote:
    """The proxy in a process of its own, as the test sees it."""

    def __init__(self, store: list[tuple[str, str]], bus: tuple[str, str], seed: int):
        given = {"store": store, "bus": bus, "seed": seed}
        self.process = subprocess.Popen([sys.executable, __file__, json.dumps(given)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.lock = threading.Lock()
        if not self.process.stdout.readline():
            raise RuntimeError("the proxy does not listen")

    def do(self, command: str, **more):
        with self.lock:
            self.process.stdin.write(json.dumps({"do": command} | more) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        told = json.loads(line or '{"error": "the proxy has ended"}')
        if "error" in told:
            raise RuntimeError(f"the proxy, asked to {command}: {told['error']}")
        return told["ok"]

    def stop(self) -> None:
        self.process.stdin.close()
        self.process.wait()


if __name__ == "__main__":
    asyncio.run(Proxy(json.loads(sys.argv[1])).run())
