"""Addresses of studies: ids that name nothing, methods and parameters that a path does not take."""

import pytest

from tests.api.actors import Api, problem_of, refused_params
from tests.api.study_actors import NO_SUCH_STUDY, play, post


@pytest.mark.parametrize(
    "study_id",
    [NO_SUCH_STUDY, NO_SUCH_STUDY.upper(), "nonsense", "..", "..%2f..%2fetc", "a" * 5000, "%00"],
)
@pytest.mark.parametrize(
    ("method", "rest"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/cancel"),
        ("GET", "/runs"),
        ("GET", "/runs?sort=metric"),
        ("GET", "/runs/0"),
        ("GET", "/runs/0/history"),
        ("GET", "/runs/0/model"),
        ("GET", "/best"),
        ("GET", "/comparison"),
        ("GET", "/plot"),
    ],
)
def test_an_id_that_names_nothing_is_a_404(api: Api, study_id: str, method: str, rest: str) -> None:
    path = f"/v1/studies/{study_id}{rest}"
    reply = api.http.request(method, path)
    if path == "/v1/studies/../comparison":  # clients make `/v1/comparison` of it: another call
        problem_of(reply, 422, "invalid_request")
    else:
        problem_of(reply, 404, "not_found")


def test_a_jobs_id_is_no_studys(api: Api) -> None:
    job_id, study_id = api.post()["id"], post(api)["id"]
    problem_of(api.http.get(f"/v1/studies/{job_id}"), 404, "not_found")
    problem_of(api.http.get(f"/v1/jobs/{study_id}"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "rest", "allow"),
    [
        ("PUT", "", "GET, HEAD, POST"),
        ("DELETE", "", "GET, HEAD, POST"),
        ("GET", "/validate", "POST"),
        ("POST", f"/{NO_SUCH_STUDY}", "DELETE, GET, HEAD, PATCH"),
        ("GET", f"/{NO_SUCH_STUDY}/cancel", "POST"),
        ("POST", f"/{NO_SUCH_STUDY}/runs", "GET, HEAD"),
        ("DELETE", f"/{NO_SUCH_STUDY}/runs/0", "GET, HEAD"),
        ("POST", f"/{NO_SUCH_STUDY}/best", "GET, HEAD"),
    ],
)
def test_a_method_that_a_path_does_not_take_is_a_405(
    api: Api, method: str, rest: str, allow: str
) -> None:
    reply = api.http.request(method, f"/v1/studies{rest}")
    problem_of(reply, 405, "method_not_allowed")
    assert reply.headers["allow"] == allow


def test_head_is_get_without_the_body(api: Api) -> None:
    study = play(api)
    study.close(*[0.5] * 6)
    for path in ("/v1/studies", study.path, f"{study.path}/runs", f"{study.path}/comparison"):
        head, get = api.http.head(path), api.http.get(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == str(len(get.content))


@pytest.mark.parametrize("rest", ["", "/runs/0", "/best", "/comparison"])
def test_unknown_query_parameters_are_refused(api: Api, rest: str) -> None:
    reply = api.http.get(f"{post(api)['links']['self']}{rest}?nonsense=1")
    assert refused_params(reply) == ["nonsense"]
