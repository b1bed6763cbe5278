"""One address for several gateways, which are used in turn: what a load balancer is to a cluster.

It knows addresses alone. Whoever stands behind it is not asked whether it serves: one that does not take a connection is
passed over, before anything was sent to it.
"""

import asyncio
import contextlib
import itertools
import threading

HEAD = 64 * 1024


class Door:
    """Listens on a free port of 127.0.0.1 from the beginning; `lead` says to whom, once they are there."""

    def __init__(self, each_request: bool = False, port: int = 0):
        """At a port, or at a free one. With `each_request` it speaks HTTP/1.1 and has every connection closed after one answer, so that even a client
        that keeps its connection meets another gateway with each request. Streams and upgrades stay as they are."""
        self.each_request, self.count, self.behind, self.opened = each_request, 0, itertools.cycle(()), {}
        self.port = port
        # The loop knows its tasks weakly: without this, one that waits may be thrown away with what it waits for.
        self.serving, self.trouble = set(), None
        self.loop = asyncio.new_event_loop()
        listening = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(listening,), daemon=True)
        self.thread.start()
        listening.wait()
        if self.trouble:
            raise self.trouble

    def lead(self, addresses: list[str]) -> None:
        """From now on connections go to these, one after the other."""
        self.count, self.behind = len(addresses), itertools.cycle(addresses)
        self.opened = dict.fromkeys(addresses, 0)

    def close(self) -> None:
        if self.loop.is_closed():
            return
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()

    def _run(self, listening: threading.Event) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            server = self.loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=HEAD))
            self.port = server.sockets[0].getsockname()[1]
        except OSError as error:
            self.trouble = error
            self.loop.close()
            return
        finally:
            listening.set()
        self.loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                self.loop.run_until_complete(task)
        self.loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        with contextlib.closing(writer), contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            head = closing(await reader.readuntil(b"\r\n\r\n")) if self.each_request else b""
            found = await self._connect()
            if found is None:
                return
            there, back = found
            with contextlib.closing(back):
                back.write(head)
                asking = asyncio.ensure_future(copy(reader, back))
                # The answer ends the connection; what the client may still say after it is of no use.
                await copy(there, writer)
                asking.cancel()

    async def _connect(self):
        for _ in range(self.count):
            address = next(self.behind)
            host, _, port = address.rpartition(":")
            try:
                found = await asyncio.open_connection(host, int(port))
            except OSError:
                continue
            self.opened[address] += 1
            return found
        return None


def closing(head: bytes) -> bytes:
    """The head of a request that asks for the end of its connection; one that asks for an upgrade stays as it is."""
    lines = head[:-4].split(b"\r\n")
    names = [line.split(b":", 1)[0].strip().lower() for line in lines]
    if b"upgrade" in names:
        return head
    kept = [line for line, name in zip(lines, names) if name != b"connection"]
    return b"\r\n".join([*kept, b"Connection: close", b"", b""])


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything that comes, until it ends."""
    with contextlib.suppress(OSError):
        while data := await reader.read(HEAD):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
