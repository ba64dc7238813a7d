"""A small closed-loop HTTP/1.1 load generator: N kept-alive connections, one request at a time.

Run as a program of its own, so that it does not share an interpreter with the server.
"""

import asyncio
import json
import sys
from time import perf_counter


async def _connection(host: str, port: int, request: bytes, deadline: float) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    done = 0
    while perf_counter() < deadline:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(head.decode())
        length = next(
            int(line.split(b":")[1])
            for line in head.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        done += 1
    writer.close()
    return done


async def requests_a_second(
    host: str, port: int, path: str, body: bytes, connections: int, seconds: float
) -> float:
    """Replies 2xx a second over `connections`; anything else is an error."""
    request = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    begin = perf_counter()
    counts = await asyncio.gather(
        *(_connection(host, port, request, begin + seconds) for _ in range(connections))
    )
    return sum(counts) / (perf_counter() - begin)


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    options["body"] = options["body"].encode()
    print(asyncio.run(requests_a_second(**options)))
