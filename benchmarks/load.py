"""A small closed-loop HTTP/1.1 load generator: N kept-alive connections, one request at a time.

Run as a program of its own, so that it does not share an interpreter with the server.
"""

import asyncio
import json
import sys
from time import perf_counter


async def _connection(
    host: str, port: int, head: bytes, body: bytes, mark: str, deadline: float
) -> int:
    reader, writer = await asyncio.open_connection(host, port)
    done = 0
    while perf_counter() < deadline:
        own = f"Idempotency-Key: {mark}-{done}\r\n".encode() if mark else b""
        writer.write(b"%b%b\r\n%b" % (head, own, body))
        reply = await reader.readuntil(b"\r\n\r\n")
        if not reply.startswith(b"HTTP/1.1 2"):
            raise RuntimeError(reply.decode())
        length = next(
            int(line.split(b":")[1])
            for line in reply.lower().split(b"\r\n")
            if line.startswith(b"content-length")
        )
        await reader.readexactly(length)
        done += 1
    writer.close()
    return done


async def requests_a_second(
    host: str,
    port: int,
    path: str,
    body: bytes,
    connections: int,
    seconds: float,
    token: str = "",
    mark: str = "",
) -> float:
    """Replies 2xx a second over `connections`; anything else is an error.

    Args:
        token: of an API key.
        mark: gives each request an Idempotency-Key of its own that begins with it.
    """
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n"
    )
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    begin = perf_counter()
    counts = await asyncio.gather(
        *(
            _connection(
                host, port, head.encode(), body, mark and f"{mark}-{number}", begin + seconds
            )
            for number in range(connections)
        )
    )
    return sum(counts) / (perf_counter() - begin)


if __name__ == "__main__":
    options = json.loads(sys.argv[1])
    options["body"] = options["body"].encode()
    print(asyncio.run(requests_a_second(**options)))
