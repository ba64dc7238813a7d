"""Redis as operators run it: servers on loopback ports with options of one's own, a front that
speaks TLS, and certificates."""

import asyncio
import ssl
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from tests.faults.stack import free_port
from thalweg_service.server_binary import find_server


class Server:
    """A server of the embedded kind, on a port.

    Args:
        folder: of its own; made.
        options: of the server (`"--user"`, …), or the path of a configuration first.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._options = options
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        own = {"--port": str(self.port), "--bind": "127.0.0.1", "--dir": str(self._folder)}
        more = {"--save": "", "--repl-diskless-sync-delay": "0"}
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    find_server(),
                    *(word for pair in {**own, **more}.items() for word in pair),
                    *self._options,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        return self._when_up()

    def _when_up(self) -> Self:
        give_up = time.monotonic() + 20
        while not answers(self.port):
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > give_up:
                self.kill()
                raise AssertionError((self._folder / "log").read_text())
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()


def answers(port: int) -> bool:
    with redis.Redis(host="127.0.0.1", port=port) as client:
        try:
            client.execute_command("HELLO")
        except redis.ResponseError:
            return True
        except (redis.RedisError, OSError):
            return False
        return True


class Sentinel(Server):
    """A Sentinel that watches a primary as `main`, and is enough to replace it."""

    def __init__(self, folder: Path, primary: Server) -> None:
        self._config = folder / "sentinel.conf"
        super().__init__(folder, str(self._config), "--sentinel")
        self._config.write_text(
            f"port {self.port}\n"
            "bind 127.0.0.1\n"
            f"dir {folder}\n"
            f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds main 500\n"
            "sentinel failover-timeout main 5000\n"
        )

    def __enter__(self) -> Self:
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [find_server(), *self._options], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self._when_up()

    def primary(self) -> int:
        """The port of the present primary."""
        with redis.Redis(host="127.0.0.1", port=self.port) as client:
            found = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")
            return int(found[1])

    def replicas(self) -> int:
        """How many replicas it knows that are up."""
        with redis.Redis(host="127.0.0.1", port=self.port, decode_responses=True) as client:
            found = client.sentinel_slaves("main")
            return sum(not each["is_sdown"] and each["slave-repl-offset"] > 0 for each in found)


class Certificates:
    """Certificates that openssl makes: of an authority, of a server at 127.0.0.1, of a client, and
    of another authority."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        for ca in ("ca", "other"):
            self._openssl(
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-days", "2", "-subj", f"/CN={ca}", "-keyout", f"{ca}.key", "-out", f"{ca}.crt",
            )  # fmt: skip
        (folder / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        self._sign("server", "-extfile", "names")
        self._sign("client")

    def _sign(self, name: str, *more: str) -> None:
        self._openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr",
        )  # fmt: skip
        self._openssl(
            "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-out", f"{name}.crt", *more,
        )  # fmt: skip

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self._folder, capture_output=True, check=True)

    def __getitem__(self, name: str) -> str:
        return str(self._folder / name)


class TlsFront:
    """Speaks TLS on a port of its own, and passes on what it hears to a server's port.

    Args:
        asks: whether a client must show a certificate of the authority.
    """

    def __init__(self, certificates: Certificates, target: int, *, asks: bool = False) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificates["server.crt"], certificates["server.key"])
        if asks:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(certificates["ca.crt"])
        self._target = target
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._up = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(60)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(lambda loop, context: None)
        starting = asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._context)
        listening = self._loop.run_until_complete(starting)
        self._up.set()
        self._loop.run_forever()
        listening.close()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(
            _pump(reader, behind[1]), _pump(behind[0], writer), return_exceptions=True
        )


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(2**16):
            sink.write(data)
            await sink.drain()
    finally:
        sink.close()
