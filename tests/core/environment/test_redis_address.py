"""Addresses of Redis in every form: what they mean to redis-py and to kombu; what is refused."""

from pathlib import Path
from typing import Any

import pytest

from core.environment.redis_address import (
    CLUSTER,
    Address,
    async_pool,
    broker,
    check,
    client,
    parse,
    shown,
    without_login,
)
from core.settings import Settings, setting_mistakes

PLAIN: dict[str, dict[str, Any]] = {
    "redis://127.0.0.1:6379/0": {"host": "127.0.0.1", "port": 6379, "db": 0},
    "redis://u:p%40s@h/3": {"host": "h", "username": "u", "password": "p@s", "db": 3},
    "rediss://:p@h:1/2?ssl_ca_certs=/ca.crt": {"password": "p", "ssl_ca_certs": "/ca.crt"},
    "unix:///run/redis.sock?db=3": {"path": "/run/redis.sock", "db": 3},
}
SENTINELS = {
    "redis+sentinel://a:1,b:2/main/3": (
        Address("redis://sentinel/3", (("a", 1), ("b", 2)), "main"),
        "sentinel://a:1/3;sentinel://b:2/3",
    ),
    "redis+sentinel://a/main": (
        Address("redis://sentinel/0", (("a", 26379),), "main"),
        "sentinel://a:26379/0",
    ),
    "redis+sentinel://u:p%40s@[::1]:5,10.0.0.1/my-service_1/": (
        Address("redis://u:p%40s@sentinel/0", (("::1", 5), ("10.0.0.1", 26379)), "my-service_1"),
        "sentinel://u:p%40s@[::1]:5/0;sentinel://u:p%40s@10.0.0.1:26379/0",
    ),
    "rediss+sentinel://a:1/m/0?ssl_ca_certs=/ca&sentinel_username=s&sentinel_password=t%2F": (
        Address(
            "rediss://sentinel/0?ssl_ca_certs=%2Fca",
            (("a", 1),),
            "m",
            (("username", "s"), ("password", "t/")),
        ),
        "sentinel://a:1/0",
    ),
}


@pytest.mark.parametrize("url", sorted(PLAIN))
def test_the_address_of_one_server_means_to_clients_what_it_means_to_redis_py(url: str) -> None:
    assert parse(url) == Address(url)
    for pool in (client(url).connection_pool, async_pool(url), async_pool(url, max_connections=3)):
        assert PLAIN[url].items() <= pool.connection_kwargs.items()


@pytest.mark.parametrize("url", sorted(SENTINELS))
def test_sentinels_are_taken_apart_and_written_as_kombu_wants_them(url: str) -> None:
    address, broker_url = SENTINELS[url]
    assert parse(url) == address
    asked = broker(url)
    assert asked["broker_url"] == broker_url
    assert asked["broker_transport_options"]["master_name"] == address.service
    assert ("broker_use_ssl" in asked) == address.tls
    for pool in (client(url).connection_pool, async_pool(url), async_pool(url, max_connections=3)):
        assert pool.service_name == address.service
        sentinels = [each.connection_pool for each in pool.sentinel_manager.sentinels]
        found = [
            (each.connection_kwargs["host"], each.connection_kwargs["port"]) for each in sentinels
        ]
        assert tuple(found) == address.sentinels
        login = {
            k: each.connection_kwargs.get(k) for each in sentinels for k in ("username", "password")
        }
        assert {k: v for k, v in login.items() if v} == dict(address.sentinel_login)
        assert pool.connection_kwargs.get("ssl_ca_certs") == ("/ca" if address.tls else None)
        assert pool.make_connection() is not None


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://127.0.0.1:6379/0", {"broker_url": "redis://127.0.0.1:6379/0"}),
        (
            "redis://u:p@h:1/2?socket_timeout=3",
            {"broker_url": "redis://u:p@h:1/2?socket_timeout=3"},
        ),
        ("unix:///run/redis.sock", {"broker_url": "redis+socket:///run/redis.sock"}),
        (
            "unix:///a%20b/redis.sock?db=3",
            {"broker_url": "redis+socket:///a%20b/redis.sock?virtual_host=3"},
        ),
        (
            "rediss://u:p@host:1/2",
            {
                "broker_url": "rediss://u:p@host:1/2",
                "broker_use_ssl": {"ssl_cert_reqs": "required"},
            },
        ),
        (
            "rediss://h/0?ssl_ca_certs=%2Fca.crt&ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=no",
            {
                "broker_url": "rediss://h/0",
                "broker_use_ssl": {
                    "ssl_cert_reqs": "required",
                    "ssl_ca_certs": "/ca.crt",
                    "ssl_certfile": "/c",
                    "ssl_keyfile": "/k",
                    "ssl_check_hostname": False,
                },
            },
        ),
    ],
)
def test_an_address_is_written_as_kombu_wants_it(url: str, wanted: dict[str, Any]) -> None:
    assert broker(url) == wanted


SECRET = "geh3im"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis+cluster://{}:1", CLUSTER),
        ("rediss-cluster://u:{}@h:1/0", CLUSTER),
        ("http://u:{}@h", "begin the address with redis://"),
        ("{}", "begin the address with redis://"),
        ("redis://u:{}@a:1,b:2/0", "redis+sentinel://host:26379,host:26379/service/0"),
        ("redis+sentinel://u:{}@a:1,b:2", "then the service that they watch"),
        ("redis+sentinel://u:{}@a:1,b:2/", "then the service that they watch"),
        ("redis+sentinel://u:{}@a:1,b:x/m/0", "then the service that they watch"),
        ("redis+sentinel://u:{}@a:0/m/0", "then the service that they watch"),
        ("redis+sentinel://u:{}@a:99999/m/0", "then the service that they watch"),
        ("redis+sentinel://u:{}@a,,b/m/0", "then the service that they watch"),
        ("redis+sentinel://u:{}@/m/0", "then the service that they watch"),
        ("redis+sentinel://u:{}@a/m/n", "then the service that they watch"),
        ("redis+sentinel://u:@{}@a/m/0", "percent-encoded"),
        ("redis+sentinel://a/m/0?password={}", "put user and password before the host"),
        ("redis://h/0?sentinel_password={}", "belong to redis+sentinel://"),
        ("redis://u:{}@h:port/0", "a port from 0 to 65535"),
        ("redis://u:{}@h/zero", "the number of a database"),
        ("unix://{}/run/redis.sock", "by its whole path"),
    ],
)
def test_what_is_no_address_is_refused_with_the_way_out_and_not_quoted(
    url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THALWEG_REDIS_URL", url.format(SECRET))
    with pytest.raises(ValueError, match=r"THALWEG_REDIS_URL|redis_url") as refused:
        Settings()
    said = setting_mistakes(refused.value)  # type: ignore[arg-type]
    assert said.startswith("THALWEG_REDIS_URL: ")
    assert words in said
    assert SECRET not in said


@pytest.mark.parametrize(
    ("url", "plain", "hidden"),
    [
        (f"redis://u:{SECRET}@h:1/0", "redis://h:1/0", "redis://u:***@h:1/0"),
        (f"redis://:{SECRET}@h:1/0", "redis://h:1/0", "redis://:***@h:1/0"),
        ("redis://h:1/0?protocol=2", "redis://h:1/0?protocol=2", "redis://h:1/0?protocol=2"),
        (
            f"redis+sentinel://u:{SECRET}@a:1,b:2/m/0?sentinel_password={SECRET}&protocol=2",
            "redis+sentinel://a:1,b:2/m/0?protocol=2",
            "redis+sentinel://u:***@a:1,b:2/m/0?sentinel_password=***&protocol=2",
        ),
        (
            f"redis+sentinel://a/m?sentinel_username=s&sentinel_password={SECRET}",
            "redis+sentinel://a/m",
            "redis+sentinel://a/m?sentinel_username=s&sentinel_password=***",
        ),
        ("unix:///run/redis.sock", "unix:///run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_passwords_are_not_shown(url: str, plain: str, hidden: str) -> None:
    assert (without_login(url), shown(url)) == (plain, hidden)
    settings = Settings(redis_url=url)
    assert (settings.redis_address, settings.shown("redis_url")) == (plain, hidden)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("ssl_ca_cert=/ca.crt", "an option ssl_ca_cert that is none"),
        ("ssl_ca_certs={}/nothing", "the file of its ssl_ca_certs cannot be read"),
        ("ssl_ca_certs={}/rubbish", "of no use"),
        ("ssl_certfile={}/rubbish&ssl_keyfile={}/rubbish", "of no use"),
        ("ssl_keyfile={}/rubbish", "needs the certificate: ssl_certfile"),
        ("socket_timeout=soon", "socket_timeout"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_connected(
    query: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "rubbish").write_text("no certificate")
    for url in (f"rediss://h:1/0?{query}", f"rediss+sentinel://h:1/m/0?{query}"):
        with pytest.raises(ValueError, match=words):
            check(url.format(tmp_path, tmp_path))
    for fine in (*PLAIN, *SENTINELS):
        if "ssl" not in fine:
            check(fine)
