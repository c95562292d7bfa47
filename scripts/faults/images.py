"""The image server, a process of its own: `images.py PORT FOLDER`. It misbehaves when told to.

A line on standard input names a mode, with a number of seconds where it needs one. The server answers
`ok` when the mode is in effect:

    ok           images are served
    closed       the port is closed, and so are all connections
    hang         requests get no answer
    slow SECONDS requests are answered after SECONDS
    error        requests get HTTP 500, or 503 with Retry-After
    cut          half of the body is sent, then the connection is closed

The server ends when standard input ends.
"""

import asyncio
import sys
from pathlib import Path


class ImageServer:
    """Serves the files of one folder by name. Other names get HTTP 404."""

    def __init__(self, port: int, folder: Path) -> None:
        self._port = port
        self._bodies = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        self._mode, self._seconds = "ok", 0.0
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()
        self._errors = 0

    async def set(self, mode: str, seconds: float = 0.0) -> None:
        self._mode, self._seconds = mode, seconds
        # Requests of the last mode that hang are given up.
        self._changed.set()
        self._changed = asyncio.Event()
        if mode == "closed":
            await self._close()
        elif self._listener is None:
            self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self._port)

    async def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while await self._answer(await reader.readuntil(b"\r\n\r\n"), writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # The client has closed the connection.
        finally:
            self._open.discard(writer)
            writer.close()

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> bool:
        """Answers one request. Returns whether the connection stays open."""
        name = request.split(b" ", 2)[1].decode().partition("?")[0].removeprefix("/")
        body = self._bodies.get(name)
        if self._mode == "hang":
            await self._changed.wait()
            return False
        if self._mode == "slow":
            await asyncio.sleep(self._seconds)
        if self._mode == "error":
            self._errors += 1
            status = "500 Internal Server Error" if self._errors % 2 else "503 Service Unavailable\r\nRetry-After: 1"
            return await _send(writer, status, b"")
        if body is None:
            return await _send(writer, "404 Not Found", b"")
        if self._mode == "cut":
            await _send(writer, "200 OK", body[: len(body) // 2], len(body))
            return False
        return await _send(writer, "200 OK", body)


async def _send(writer: asyncio.StreamWriter, status: str, body: bytes, length: int | None = None) -> bool:
    declared = len(body) if length is None else length
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {declared}\r\n\r\n".encode() + body)
    await writer.drain()
    return True


async def main() -> None:
    server = ImageServer(int(sys.argv[1]), Path(sys.argv[2]))
    lines = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(lines)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := (await lines.readline()).decode().split():
        await server.set(line[0], float(line[1]) if len(line) > 1 else 0.0)
        print("ok", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
