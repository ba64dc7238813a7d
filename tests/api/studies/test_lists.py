"""Lists of studies: order, cursors and filters."""

from typing import Any

import pytest

from tests.api.actors import Api, Json, refused_params
from tests.api.study_actors import post, sweep


def test_lists_come_newest_first_and_cursors_reach_every_study_once(api: Api) -> None:
    ids = [post(api)["id"] for _ in range(5)]
    seen: list[str] = []
    query: Json = {"limit": 2}
    while True:
        page = api.get("/v1/studies", **query)
        seen += [study["id"] for study in page["data"]]
        if not page["has_more"]:
            break
        query["after"] = page["next_cursor"]
        api.post()  # jobs are no studies
    assert seen == ids[::-1]


def test_lists_are_filtered(api: Api) -> None:
    first = post(api, sweep(labels={"a": "1"}))
    second = post(api, sweep(labels={"a": "2"}))
    api.http.post(f"{first['links']['self']}/cancel")

    def ids(**query: Any) -> list[str]:
        return [study["id"] for study in api.get("/v1/studies", **query)["data"]]

    assert ids(label="a:1") == ids(status="cancelled") == [first["id"]]
    assert ids(status=["cancelled", "queued"]) == [second["id"], first["id"]]
    assert ids(created_after=first["created_at"]) == [second["id"]]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "status=done", "label=x", "created_after=x", "nonsense=1"]
)
def test_a_wrong_list_parameter_is_named(api: Api, query: str) -> None:
    reply = api.http.get(f"/v1/studies?{query}")
    assert refused_params(reply) == [query.split("=", maxsplit=1)[0]]


def test_cursors_of_studies_and_jobs_are_not_mixed_up(api: Api) -> None:
    for _ in range(2):
        post(api)
        api.post()
    of_jobs = api.get("/v1/jobs", limit=1)["next_cursor"]
    of_studies = api.get("/v1/studies", limit=1)["next_cursor"]
    for path, cursor in (("/v1/studies", of_jobs), ("/v1/jobs", of_studies)):
        assert refused_params(api.http.get(path, params={"after": cursor})) == ["after"]
