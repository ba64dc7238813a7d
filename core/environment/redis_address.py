"""The address of the Redis server, in the forms in which operators run it, and clients for it.

| form | what it is |
|---|---|
| `redis://user:password@host:6379/0` | one server |
| `rediss://…?ssl_ca_certs=/path/ca.crt` | the same by TLS |
| `unix:///path/redis.sock` | one server on this machine |
| `redis+sentinel://user:password@host:26379,host:26379/service/0` | Sentinels name the primary |
| `rediss+sentinel://…` | the same by TLS, Sentinels too |

`redis` is imported where a client is made: the settings are read by what needs none.
"""

import os
import re
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

SENTINEL_PORT: Final = 26379
SECRET: Final = "***"
_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL: Final = ("sentinel_username", "sentinel_password")
_SCHEMES: Final = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
_HOST: Final = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
CLUSTER: Final = (
    "Redis Cluster is not supported: a change here is one script on several keys, and the broker"
    " knows no cluster. Give one server (redis://), or one with replicas behind Sentinels"
    " (redis+sentinel://host:26379,host:26379/service/0)."
)


@dataclass(frozen=True)
class Address:
    """An address, taken apart.

    Attributes:
        url: of one server, as redis-py reads it; behind Sentinels its host means nothing.
        sentinels: their hosts and ports; empty without.
        service: what they call the primary.
        sentinel_login: what they want to know themselves: `username`, `password`.
    """

    url: str
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    sentinel_login: tuple[tuple[str, str], ...] = ()

    @property
    def tls(self) -> bool:
        return self.url.startswith("rediss:")


def parse(text: str) -> Address:
    """Take an address apart. Raises `ValueError`, whose message quotes nothing of it: it may hold a
    password."""
    scheme = text.partition("://")[0].lower()
    if "cluster" in scheme:
        raise ValueError(CLUSTER)
    if scheme not in _SCHEMES:
        raise ValueError("begin the address with redis://, rediss://, unix:// or redis+sentinel://")
    parts = _parts_of(text)
    _check_login(text, parts)
    if scheme.endswith("+sentinel"):
        return _behind_sentinels(scheme, parts)
    place = parts.netloc.rpartition("@")[2]
    if scheme == "unix":
        if place or parts.path in {"", "/"}:
            raise ValueError("name the socket by its whole path: unix:///run/redis.sock")
    elif re.fullmatch(r"/?\d*", parts.path) is None:
        raise ValueError("what follows the port is the number of a database: redis://host:6379/0")
    elif "," in place:
        raise ValueError(
            "several hosts are Sentinels: redis+sentinel://host:26379,host:26379/service/0"
        )
    if {name for name, _ in parse_qsl(parts.query)} & {*_SENTINEL}:
        raise ValueError("sentinel_username and sentinel_password belong to redis+sentinel://")
    return Address(text)


def _parts_of(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        if "+" not in parts.scheme and "," not in parts.netloc:
            _ = parts.port
    except ValueError:  # its message quotes a part of the address
        raise ValueError(
            "it is no address of the form redis://user:password@host:6379/0, with a port from 0 to"
            " 65535; a password must be percent-encoded"
        ) from None
    return parts


def _check_login(text: str, parts: SplitResult) -> None:
    """Refuse a user name and password that are not percent-encoded, or stand elsewhere."""
    user, _, place = parts.netloc.rpartition("@")
    rest = parts.query if parts.scheme == "unix" and not place else parts.path + parts.query
    odd = re.search(r"@|%(?![0-9A-Fa-f]{2})", user) or re.search(r"\s", text)
    if odd or "@" in rest or parts.fragment:
        raise ValueError(
            "a user name or password in it must be percent-encoded: @ as %40, : as %3A, / as %2F,"
            " ? as %3F, # as %23, % as %25, as in redis://user:p%40ss@host:6379/0"
        )
    if {"password", "username"} & {name for name, _ in parse_qsl(parts.query)}:
        raise ValueError("put user and password before the host: redis://user:password@host:6379/0")


def _behind_sentinels(scheme: str, parts: SplitResult) -> Address:
    login, at, place = parts.netloc.rpartition("@")
    found = [_HOST.fullmatch(each.strip()) for each in place.split(",")]
    ports = [int(each[2] or SENTINEL_PORT) for each in found if each is not None]
    path = re.fullmatch(r"/([A-Za-z0-9._-]+)(?:/(\d*))?", parts.path)
    if None in found or path is None or not all(0 < port < 65536 for port in ports):
        raise ValueError(
            "name the Sentinels with commas between, then the service that they watch, then the"
            " number of a database: redis+sentinel://host:26379,host:26379/service/0"
        )
    hosts = [each[1].strip("[]") for each in found if each is not None]
    query = parse_qsl(parts.query)
    rest = urlencode([(name, value) for name, value in query if name not in _SENTINEL])
    url = f"{scheme.partition('+')[0]}://{login}{at}sentinel/{path[2] or 0}"
    return Address(
        f"{url}?{rest}" if rest else url,
        tuple(zip(hosts, ports, strict=True)),
        path[1],
        tuple((name.removeprefix("sentinel_"), v) for name, v in query if name in _SENTINEL),
    )


def shown(text: str) -> str:
    """Return the address with its passwords hidden."""
    hidden = re.sub(r"(?<=://)([^:@/]*):[^@/]*(?=@)", rf"\1:{SECRET}", text, count=1)
    return re.sub(r"(?<=[?&]sentinel_password=)[^&]*", SECRET, hidden)


def without_login(text: str) -> str:
    """Return the address without user names and passwords: for messages and logs."""
    place = re.sub(r"(?<=://)[^@/]*@", "", text, count=1)
    path, mark, query = place.partition("?")
    rest = "&".join(each for each in query.split("&") if not each.startswith("sentinel_"))
    return f"{path}{mark}{rest}" if rest else path


def check(text: str) -> None:
    """Refuse options that redis-py does not know, and files of TLS that cannot be used. Nothing is
    connected. Raises `ValueError`."""
    import ssl

    import redis

    address = parse(text)
    try:
        redis.ConnectionPool.from_url(address.url).make_connection()
    except TypeError as error:
        unknown = re.search(r"argument '(\w+)'", str(error))
        raise ValueError(f"it has an option {unknown[1] if unknown else ''} that is none") from None
    files = {name: value for name, value in parse_qsl(urlsplit(text).query) if name in _FILES}
    for name, path in files.items():
        if not os.access(path, os.R_OK):
            raise ValueError(f"the file of its {name} cannot be read")
    try:
        context = ssl.create_default_context(cafile=files.get("ssl_ca_certs"))
        if "ssl_certfile" in files:
            context.load_cert_chain(files["ssl_certfile"], files.get("ssl_keyfile"), password="")
    except (ssl.SSLError, OSError) as error:
        raise ValueError(f"the files of its ssl_… options are of no use: {error}") from None
    if "ssl_keyfile" in files and "ssl_certfile" not in files:
        raise ValueError("its ssl_keyfile needs the certificate: ssl_certfile")


def client(text: str, **options: Any) -> Any:
    """Make a client that blocks; what the address says goes before `options`."""
    import redis

    address = parse(text)
    if not address.sentinels:
        return redis.Redis.from_url(text, **options)
    sentinel = import_module("redis.sentinel")  # untyped, as what follows

    class Pool(sentinel.SentinelConnectionPool):  # type: ignore[misc, name-defined]
        """Pool that asks the Sentinels for the primary at each connection, and leaves none to them
        open."""

        def get_master_address(self) -> Any:
            try:
                return super().get_master_address()
            finally:
                for each in self.sentinel_manager.sentinels:
                    each.close()

    own = _own_options(address.url, options)
    asked = sentinel.Sentinel(address.sentinels, sentinel_kwargs=_of_sentinels(address, own))
    return asked.master_for(address.service, connection_pool_class=Pool, **own)


def async_pool(text: str, **options: Any) -> Any:
    """Make a pool of connections for an event loop. With `max_connections`, who wants one more
    waits for `timeout` seconds."""
    asyncio = import_module("redis.asyncio")
    address = parse(text)
    limited = "max_connections" in options
    plain: Any = asyncio.BlockingConnectionPool if limited else asyncio.ConnectionPool
    if not address.sentinels:
        return plain.from_url(text, **options)
    sentinel = import_module("redis.asyncio.sentinel")

    class Pool(sentinel.SentinelConnectionPool, plain):  # type: ignore[misc, name-defined]
        """Pool that asks the Sentinels for the primary at each connection, and leaves none to them
        open."""

        async def get_master_address(self) -> Any:
            try:
                return await super().get_master_address()
            finally:
                for each in self.sentinel_manager.sentinels:
                    await each.aclose()

    own = _own_options(address.url, options)
    sizes = {name: own.pop(name) for name in ("max_connections", "timeout") if name in own}
    asked = sentinel.Sentinel(address.sentinels, sentinel_kwargs=_of_sentinels(address, own))
    pool: Any = Pool
    return pool(address.service, asked, **sizes, **own)


def _parsed(url: str) -> dict[str, Any]:
    """Return the options in an address of one server, as redis-py reads them."""
    found: dict[str, Any] = import_module("redis.connection").parse_url(url)
    return found


def _own_options(url: str, options: dict[str, Any]) -> dict[str, Any]:
    own = {**options, **_parsed(url)}
    tls = own.pop("connection_class", None) is not None
    for name in ("host", "port"):
        own.pop(name, None)
    return {**own, "ssl": True} if tls else own


def _of_sentinels(address: Address, own: dict[str, Any]) -> dict[str, Any]:
    """Return the options of connections to the Sentinels. None is asked again before the next."""
    kept = ("ssl", "socket_timeout", "socket_connect_timeout", "protocol", "retry")
    options = {k: v for k, v in own.items() if k in kept or k.startswith("ssl_")}
    once = import_module("redis.retry").Retry(import_module("redis.backoff").NoBackoff(), 0)
    return {"retry": once, **options, **dict(address.sentinel_login)}


def broker(text: str) -> dict[str, Any]:
    """Return Celery's options for the same server: `broker_url`, `broker_use_ssl`, and transport
    options."""
    address = parse(text)
    parts = urlsplit(address.url)
    if parts.scheme == "unix":
        return {"broker_url": _socket_url(parts)}
    found = _parsed(address.url)
    tls = {name: value for name, value in found.items() if name.startswith("ssl_")}
    tls = {"ssl_cert_reqs": "required", **tls}
    rest = urlencode([each for each in parse_qsl(parts.query) if not each[0].startswith("ssl_")])
    more: dict[str, Any] = {"broker_use_ssl": tls} if address.tls else {}
    if not address.sentinels:
        url = f"{parts.scheme}://{parts.netloc}{parts.path}"
        return {"broker_url": f"{url}?{rest}" if rest else url, **more}
    login = parts.netloc.rpartition("@")
    urls = [
        f"sentinel://{login[0]}{login[1]}{_bracketed(host)}:{port}{parts.path}"
        for host, port in address.sentinels
    ]
    own = {**found, **({"ssl": True, **tls} if address.tls else {})}
    for name in ("host", "port", "connection_class", "db", "username", "password"):
        own.pop(name, None)
    return {
        "broker_url": ";".join(urls),
        "broker_transport_options": {
            "master_name": address.service,
            "sentinel_kwargs": _of_sentinels(address, {"socket_connect_timeout": 5.0, **own}),
        },
        **more,
    }


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _socket_url(parts: SplitResult) -> str:
    """Write a socket's address as kombu does: `unix:///path?db=1` →
    `redis+socket:///path?virtual_host=1`."""
    query = dict(parse_qsl(parts.query))
    if "db" in query:
        query["virtual_host"] = query.pop("db")
    # By hand: urlunsplit drops the `//` of a scheme that it does not know.
    return f"redis+socket://{parts.netloc}{parts.path}" + (f"?{urlencode(query)}" if query else "")


def mode_in(hello: Any) -> str:
    """Return what a server says of itself in its answer to HELLO: `standalone`, `sentinel` or
    `cluster`; empty where it does not."""
    pairs = dict(zip(hello[::2], hello[1::2], strict=False)) if isinstance(hello, list) else hello
    found = pairs.get(b"mode", pairs.get("mode", b""))
    return found.decode() if isinstance(found, bytes) else str(found)


def wrong_mode(mode: str) -> str | None:
    """Return why a server of this mode cannot be the store; None: it can."""
    if mode == "cluster":
        return CLUSTER
    if mode == "sentinel":
        return (
            "The server at THALWEG_REDIS_URL is a Sentinel, which keeps no data: write"
            " redis+sentinel://host:26379,host:26379/service/0."
        )
    return None
