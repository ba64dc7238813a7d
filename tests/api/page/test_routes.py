"""The page is served at its own addresses and nowhere else, under a policy of its own."""

import base64
import gzip
import hashlib
import re
import subprocess
from pathlib import Path
from typing import get_args

import pytest
from starlette.testclient import TestClient

from api.page import routes
from core.diagnosis.rules.table import RULES
from core.diagnosis.verdict import VerdictName
from core.jobs import AttemptEnd, Event, Outcome, Status
from core.messages.parts import Phase
from core.settings import Settings
from core.specs.formulas.classic import CLASSICS
from core.specs.unions import members
from scripts import page
from tests.api.actors import Api, make_app

WORDS = (page.WEB / "src" / "i18n" / "en.ts").read_text()
MOST_BYTES = 120_000
"""Of the whole page, compressed."""


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A page that has been built, as small as can be."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "index-abc.js").write_text("1")
    (tmp_path / "assets" / "icon.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("no")
    text = '<html data-root=""><script type="module" src="/assets/index-abc.js"></script></html>'
    (tmp_path / "index.html").write_text(text)
    monkeypatch.setattr(routes, "BUILT", tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/job_x", "/jobs?new", "/jobs?any=1&any=2"])
def test_every_view_is_the_page(api: Api, built: Path, path: str) -> None:
    reply = api.http.get(path)
    assert reply.status_code == 200
    assert reply.text == (built / "index.html").read_text()
    assert reply.headers["cache-control"] == "no-cache"
    policy = reply.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    head = api.http.head(path)
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("root", ["", "/thalweg"])
@pytest.mark.parametrize("view", [each for each in routes.VIEWS if each != "/"])
def test_a_slash_at_the_end_leads_to_the_view(
    settings: Settings, built: Path, view: str, root: str
) -> None:
    path = root + view.replace("{id}", "job_é%20x")
    shown = settings.model_copy(update={"root_path": root})
    with TestClient(make_app(shown), "http://localhost") as http:
        reply = http.get(f"{path}/?any=1&any=2", follow_redirects=False)
        assert reply.status_code == 308
        assert reply.headers["location"] == path.replace("é", "%C3%A9") + "?any=1&any=2"
        assert http.get(f"{path}/").text == http.get(path).text


@pytest.mark.parametrize(
    "path",
    ["/job", "/jobs//", "/studies/", "/v1/jobs/", "/jobs/a/b", "/index.html", "/assets", "/v1/x"],
)
def test_other_paths_are_none(api: Api, built: Path, path: str) -> None:
    reply = api.http.get(path, headers={"Accept": "text/html"})
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/problem+json"


def test_files_are_kept_for_good_and_others_are_out_of_reach(api: Api, built: Path) -> None:
    script = api.http.get("/assets/index-abc.js")
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert script.headers["content-type"].startswith("text/javascript")
    assert "immutable" not in api.http.get("/assets/icon.svg").headers["cache-control"]
    for name in ("none.js", "..%2fsecret.txt", "%2e%2e%2fsecret.txt", "%2e%2e", "%00"):
        assert api.http.get(f"/assets/{name}").status_code == 404


def test_a_page_that_was_not_built_says_how_to(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "BUILT", tmp_path / "nothing")
    reply = api.http.get("/")
    assert reply.status_code == 503
    assert "make install" in reply.text
    assert api.http.get("/assets/icon.svg").status_code == 404


def test_behind_a_proxy_the_page_asks_below_its_path(settings: Settings, built: Path) -> None:
    behind = settings.model_copy(update={"root_path": "/thalweg"})
    with TestClient(make_app(behind), "http://localhost") as http:
        text = http.get("/thalweg/jobs").text
        assert 'src="/thalweg/assets/index-abc.js"' in text
        assert 'data-root="/thalweg"' in text
        assert http.get("/thalweg/assets/index-abc.js").text == "1"


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_without_node_the_service_is_installed_all_the_same(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def none() -> dict[str, str]:
        raise page.CannotBuildError("there is no Node")

    monkeypatch.setattr(page, "environment", none)
    monkeypatch.setattr(page, "says", lambda stamp, value: False)
    assert page.main(arguments) == len(arguments)  # what cannot be checked is not passed over
    assert "there is no Node" in capsys.readouterr().err


def test_the_documentation_runs_its_own_script_alone(api: Api) -> None:
    reply = api.http.get("/docs")
    (script,) = re.findall(r"<script>(.*?)</script>", reply.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = reply.headers["content-security-policy"]
    assert f"script-src 'self' 'sha256-{digest}'" in policy
    assert "frame-ancestors 'none'" in policy


def test_the_page_knows_the_paths_that_are_served() -> None:
    source = (page.WEB / "src" / "app" / "router.ts").read_text()
    (views,) = re.findall(r"VIEWS: readonly RegExp\[\] = \[([^\]]*(?:\[\^/\][^\]]*)*)\];", source)
    patterns = [each.replace("\\/", "/") for each in re.findall(r"/\^(.+?)\$/", views)]
    assert [re.sub(r"\{\w+\}", "[^/]+", path) for path in routes.VIEWS] == patterns


@pytest.mark.parametrize(
    ("family", "names"),
    [
        ("attempt", get_args(AttemptEnd)),
        ("event", get_args(Event)),
        ("means", get_args(VerdictName)),
        ("outcome", get_args(Outcome)),
        ("phase", get_args(Phase)),
        ("rule", [rule.id for rule in RULES]),
        ("status", get_args(Status)),
        ("verdict", get_args(VerdictName)),
    ],
)
def test_every_name_of_the_service_has_a_word(family: str, names: list[str]) -> None:
    assert [name for name in names if f"  {family}_{name}:" not in WORDS] == []


def test_what_the_playground_offers_is_in_the_catalogue_and_has_a_word() -> None:
    source = (page.WEB / "src" / "play" / "setup.ts").read_text()
    places = re.findall(r'place\("(\w+)"', source)
    assert set(places) - {"ravine", "saddle"} <= CLASSICS.keys()
    assert all(CLASSICS[each].fixed_dim in {None, 2} for each in places if each in CLASSICS)
    menu = re.findall(r'^ +(\w+): { kind: "(\w+)", fields: {(.*?) }', source, re.M)
    assert len(menu) >= 10
    for _, kind, fields in menu:
        known = members("optimizer")[kind].model_fields
        assert set(re.findall(r"(\w+): ", fields)) <= known.keys(), kind
    for family, names in (("place", places), ("racer", [name for name, _, _ in menu])):
        assert [name for name in names if f"  {family}_{name}:" not in WORDS] == []


def node() -> dict[str, str] | None:
    """Where Node and the page's packages are; None where they are not."""
    if not page.PACKAGES_STAMP.is_file():
        return None
    try:
        return page.environment(may_install=False)
    except page.CannotBuildError:
        return None


needs_node = pytest.mark.skipif(node() is None, reason="needs Node and web/node_modules")
needs_page = pytest.mark.skipif(not page.STAMP.is_file(), reason="needs the page, built")


@needs_node
def test_its_parts_do_what_they_should() -> None:
    """The tests of the page's own sources."""
    command = ["npm", "run", "--silent", "test"]
    done = subprocess.run(
        command, cwd=page.WEB, env=node(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@needs_page
def test_the_page_is_small() -> None:
    files = [path for path in page.BUILT.rglob("*") if path.is_file() and path != page.STAMP]
    assert sum(len(gzip.compress(path.read_bytes())) for path in files) <= MOST_BYTES


@needs_page
def test_the_page_names_no_other_address() -> None:
    """Names of XML's vocabularies are no addresses."""
    for path in page.BUILT.rglob("*.*"):
        if path.is_file():
            found = set(re.findall(r"https?://[\w.-]+", path.read_text()))
            assert found <= {"http://www.w3.org"}, path
