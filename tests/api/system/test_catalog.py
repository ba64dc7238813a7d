"""The catalogue over HTTP."""

import pytest

from core.specs.catalog import FAMILIES
from tests.api.actors import Api, problem_of


def test_the_catalogue_is_counted(api: Api) -> None:
    counts = api.get("/v1/catalog")
    assert set(counts) == set(FAMILIES)
    assert counts["optimizers"] >= 10


@pytest.mark.parametrize("family", FAMILIES)
def test_each_family_lists_its_kinds(api: Api, family: str) -> None:
    entries = api.get(f"/v1/catalog/{family}")["data"]
    assert len(entries) == api.get("/v1/catalog")[family]
    for entry in entries:
        assert {"kind", "summary", "schema", "source", "supports"} <= entry.keys()


def test_an_unknown_family_is_a_404_that_names_the_known(api: Api) -> None:
    body = problem_of(api.http.get("/v1/catalog/wizards"), 404, "not_found")
    assert "optimizers" in body["detail"]
