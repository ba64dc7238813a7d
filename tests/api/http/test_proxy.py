"""Behind a proxy that shows the service under a path, links begin with that path."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from core.settings import Settings
from tests.api.actors import Api, make_app, problem_of, rosenbrock


def links_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from part.values() if name == "links" else links_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from links_in(part)


@pytest.mark.parametrize("cut", [True, False])
def test_behind_a_proxy_every_path_in_a_reply_has_its_prefix(settings: Settings, cut: bool) -> None:
    """Whether the proxy cuts the prefix off or leaves it on."""
    shown = settings.model_copy(update={"root_path": "/thw/api"})
    with TestClient(make_app(shown), "http://localhost") as http:

        def call(method: str, path: str, **options: Any) -> Any:
            assert path.startswith("/thw/api/")
            return http.request(method, path.removeprefix("/thw/api") if cut else path, **options)

        job = call("POST", "/thw/api/v1/jobs", json=rosenbrock())
        study = call("POST", "/thw/api/v1/studies", json={"base": rosenbrock(), "repeats": 2})
        for made in (job, study):
            assert made.status_code == 202
            path = made.headers["location"]
            assert call("GET", path).json()["id"] == made.json()["id"]
            assert call("POST", f"{path}/cancel").status_code == 202  # so that its stream ends
            listed = call("GET", path.rpartition("/")[0]).json()
            for link in [*links_in(made.json()), *links_in(listed)]:
                assert call("GET", link).status_code in {200, 409}
        problem = call("GET", "/thw/api/v1/nope")
        assert problem_of(problem, 404, "not_found")["instance"] == "/thw/api/v1/nope"
        for path in ("/thw/api/livez", "/thw/api/readyz"):
            assert call("GET", path, headers={"Host": "10.0.0.1"}).status_code == 200
        assert call("GET", "/thw/api/version", headers={"Host": "10.0.0.1"}).status_code == 403
        assert call("GET", "/thw/api/openapi.json").json()["servers"] == [{"url": "/thw/api"}]
        page = call("GET", "/thw/api/docs").text
        for link in re.findall(r'(?:src|href)="([^"]+)"', page):
            assert call("GET", link).status_code == 200
        assert "/thw/api/openapi.json" in page
        assert http.get("/thw/apiv1/jobs").status_code == 404
        assert http.get("/livez").status_code == 200


def test_a_history_behind_a_proxy_names_its_next_page(api: Api) -> None:
    job_id = api.post()["id"]
    claim = api.worker.claim()
    columns: Any = {name: [0.5] * 5 for name in ("loss", "lr", "grad_norm")}
    api.worker.append(claim, step=range(5), **columns, x=[[0, 0]] * 5)
    shown = api.settings.model_copy(update={"root_path": "/thw"})
    with TestClient(make_app(shown), "http://localhost") as http:
        for path in (f"/v1/jobs/{job_id}/history", f"/thw/v1/jobs/{job_id}/history"):
            link = http.get(f"{path}?limit=2").headers["link"]
            assert link.startswith(f"</thw/v1/jobs/{job_id}/history?limit=2&after=1>")
