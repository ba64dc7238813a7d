"""Settings: what is refused, what is guessed, and what may be said of them aloud."""

import pytest
from pydantic import ValidationError

from core.settings import Settings, setting_mistakes, unknown_variables


@pytest.mark.parametrize(
    ("url", "address", "shown"),
    [
        ("redis://user:p%40ss%2Fword@10.0.0.1:6379/0", "redis://10.0.0.1:6379/0",
         "redis://user:***@10.0.0.1:6379/0"),
        ("rediss://:secret@cache:6380/1", "rediss://cache:6380/1", "rediss://:***@cache:6380/1"),
        ("rediss://user:a:b!$&'()*+,;=~@[::1]:6380", "rediss://[::1]:6380",
         "rediss://user:***@[::1]:6380"),
        ("redis://user@cache", "redis://cache", "redis://user@cache"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://h?socket_timeout=3", "redis://h?socket_timeout=3", "redis://h?socket_timeout=3"),
        ("unix:///run/redis.sock", "unix:///run/redis.sock", "unix:///run/redis.sock"),
        ("unix:///run/a@b:c/redis.sock?db=1", "unix:///run/a@b:c/redis.sock?db=1",
         "unix:///run/a@b:c/redis.sock?db=1"),
        ("unix://user:secret@/run/redis.sock", "unix:///run/redis.sock",
         "unix://user:***@/run/redis.sock"),
    ],
)  # fmt: skip
def test_the_address_of_redis_is_said_without_its_password(
    url: str, address: str, shown: str
) -> None:
    settings = Settings(redis_url=url)
    assert (settings.redis_address, settings.shown("redis_url")) == (address, shown)


SECRETS = ("geheim@1", "geheim/1", "geheim?1", "geheim#1", "100%geheim", "geheim [1", "geheim 1")


@pytest.mark.parametrize("password", SECRETS)
@pytest.mark.parametrize("form", ["redis://:{}@host:6379/0", "rediss://u:{}@host/1",
                                  "unix://u:{}@/run/redis.sock", "redis://{}:p@host"])  # fmt: skip
def test_a_password_that_is_not_escaped_is_refused_and_not_quoted(form: str, password: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(redis_url=form.format(password))
    said = setting_mistakes(caught.value)
    assert "percent-encoded" in said
    assert said.startswith("THALWEG_REDIS_URL: ")
    assert "geheim" not in said + str(caught.value) + repr(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://host:6379", "begin the address with redis://"),
        ("localhost:6379", "begin the address with redis://"),
        ("redis://host:port/0", "with a port from 0 to 65535"),
        ("redis://host:99999/0", "with a port from 0 to 65535"),
        ("redis://[::1:6379", "no address of the form"),
        ("redis://host/zero", "number of a database"),
        ("redis://host?password=geheim", "before the host"),
        ("unix://run/redis.sock", "by its whole path"),
        ("unix://", "by its whole path"),
    ],
)
def test_what_is_no_address_of_redis_is_refused_in_words(url: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(redis_url=url)
    assert said in setting_mistakes(caught.value)
    assert "geheim" not in setting_mistakes(caught.value)


def test_all_mistakes_are_said_in_one_line_with_what_was_given() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(port=70_000, lease_s=-1.0, artifacts="s3://KEY:geheim@x")
    said = setting_mistakes(caught.value)
    assert "THALWEG_PORT=70000: Input should be less than or equal to 65535; " in said
    assert "THALWEG_LEASE_S=-1.0: Input should be greater than 0" in said
    assert "geheim" not in said
    assert "\n" not in said


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "PORT", "RETENTION_COUNT", "INSECURE_LISTEN"):
        monkeypatch.setenv(f"THALWEG_{name}", "")
    assert Settings() == Settings.model_construct()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("THALWEG_RETENTION_AGE", "; did you mean THALWEG_RETENTION_AGE_S?"),
        ("THALWEG_LEASES", "; did you mean THALWEG_LEASE_S?"),
        ("THALWEG_REDIS_URI", "; did you mean THALWEG_REDIS_URL?"),
        ("thalweg_ports", "; did you mean THALWEG_PORT?"),
        ("THALWEG_COFFEE", "; `thalweg settings` lists them"),
    ],
)
def test_a_variable_that_is_no_setting_is_said_with_a_guess_that_is_near(
    name: str, said: str
) -> None:
    names = ["PATH", "THALWEG_PORT", "thalweg_host", "THALWEG_URL", "THALWEG_KEY", name]
    assert list(unknown_variables(names)) == [f"{name} is no setting and has no effect{said}"]


@pytest.mark.parametrize(
    "hosts",
    ["", " , ", "api", "api, thalweg.internal,", "api:8000", "a_b.c-d.", "10.0.0.7", "fd00::7",
     "[fd00::7]", "[fd00::7]:8000", "xn--bcher-kva.example"],
)  # fmt: skip
def test_names_of_hosts_may_be_trusted(hosts: str) -> None:
    assert Settings(trusted_hosts=hosts).trusted_hosts == hosts


@pytest.mark.parametrize(
    "wrong",
    ["*", "*.example.org", "api*", ".example.org", "http://api", "api/path", "a b", "a;b", "[api]",
     "fd00::7/64", "10.0.0.0/8", "bücher.example", "a" * 500 + "!"],
)  # fmt: skip
@pytest.mark.parametrize("others", ["", "api, "])
def test_what_can_match_no_host_is_refused_in_words(wrong: str, others: str) -> None:
    with pytest.raises(ValidationError, match="list each name by itself") as caught:
        Settings(trusted_hosts=others + wrong)
    assert repr(wrong[:80]) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("", ""), ("/", ""), ("/thalweg", "/thalweg"), ("/a/b-c.d/", "/a/b-c.d")],
)
def test_a_prefix_is_a_path_without_an_end(text: str, kept: str) -> None:
    assert Settings(root_path=text).root_path == kept


@pytest.mark.parametrize("wrong", ["thalweg", "//x", "/a b", "/a?b", "http://x/y", "/é", "/v1"])
def test_what_is_no_path_is_no_prefix(wrong: str) -> None:
    with pytest.raises(ValidationError, match="such as /thalweg"):
        Settings(root_path=wrong)


@pytest.mark.parametrize(
    "origins", ["", "https://app.example", "http://localhost:3000, https://[fd00::7]:8443,"]
)
def test_origins_of_pages_may_be_named(origins: str) -> None:
    assert Settings(cors_origins=origins).cors_origins == origins


@pytest.mark.parametrize(
    "wrong",
    ["*", "https://*.example", "app.example", "https://a/", "https://a/b", "null", "ftp://a"],
)
def test_what_is_no_origin_is_refused_in_words(wrong: str) -> None:
    with pytest.raises(ValidationError, match="no origin of a web page"):
        Settings(cors_origins=wrong)
