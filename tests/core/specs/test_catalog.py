"""The catalogue lists what a spec accepts, in the contract's shape."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator

from core.errors import InvalidInputError
from core.specs.catalog import FAMILIES, entries, kinds
from core.specs.catalog.texts import TEXTS
from core.specs.examples import minimal_example
from core.specs.parsing.job import parse_job
from core.specs.sizes.fusing import fusable
from core.specs.validation.limits import Limits
from tests.core.specs.example_uploads import EXAMPLE_UPLOADS

ENTRIES = [(family, entry) for family in FAMILIES for entry in entries(family)]


@pytest.mark.parametrize(("family", "entry"), ENTRIES)
def test_an_entry_has_the_shape_of_the_contract(family: str, entry: dict[str, Any]) -> None:
    of_metrics = {"goal", "losses"} if family == "metrics" else set()
    assert set(entry) == {
        "kind", "summary", "schema", "example", "source", "supports", *of_metrics
    }  # fmt: skip
    assert entry["summary"].endswith(".")
    assert entry["source"]
    for precision in ("float32", "float64", "bfloat16"):
        body = {**entry["example"], "precision": precision}
        try:
            parse_job(json.dumps(body).encode(), Limits(), EXAMPLE_UPLOADS)
        except InvalidInputError:
            assert precision not in entry["supports"]["precisions"]
        else:
            assert precision in entry["supports"]["precisions"]
    assert entry["supports"]["resume"] is True


@pytest.mark.parametrize(("family", "entry"), ENTRIES)
def test_a_schema_is_closed_and_shows_its_defaults(family: str, entry: dict[str, Any]) -> None:
    schema = entry["schema"]
    if family == "activations":
        assert schema == {"const": entry["kind"], "type": "string", "examples": [entry["kind"]]}
        return
    assert schema["additionalProperties"] is False
    optional = set(schema["properties"]) - set(schema.get("required", ()))
    assert all("default" in schema["properties"][name] for name in optional)


@pytest.mark.parametrize(("family", "entry"), ENTRIES)
def test_what_is_listed_works_as_its_example_says(family: str, entry: dict[str, Any]) -> None:
    """The example is a job; what the schema describes stands somewhere in it, and fits it."""
    spec = parse_job(json.dumps(entry["example"]).encode(), Limits(), EXAMPLE_UPLOADS)
    assert spec.model_dump(mode="json", exclude_unset=True)
    (chosen,) = entry["schema"]["examples"]
    Draft202012Validator(entry["schema"]).validate(chosen)
    assert chosen in list(parts_of(entry["example"]))


def parts_of(value: Any) -> Iterator[Any]:
    yield value
    if isinstance(value, dict):
        for part in value.values():
            yield from parts_of(part)
    if isinstance(value, list):
        for part in value:
            yield from parts_of(part)


def test_the_kinds_are_those_of_the_issue() -> None:
    assert set(kinds("optimizers")[14:]) == {
        "lion", "adopt", "ademamix", "schedule_free_sgd", "schedule_free_adamw", "prodigy",
        "shampoo", "soap",
    }  # fmt: skip
    assert {"digits", "iris", "wine", "breast_cancer", "diabetes"} <= set(kinds("datasets"))
    assert {"moons", "friedman1", "sine_sequence", "inline"} <= set(kinds("datasets"))
    assert len(kinds("functions")) >= 12


def test_no_text_is_left_over() -> None:
    for family, texts in TEXTS.items():
        assert set(texts) <= set(kinds(family))


def test_an_optimizer_says_whether_runs_with_it_share_a_stack() -> None:
    for entry in entries("optimizers"):
        body = json.dumps(minimal_example("optimizers", entry["kind"])).encode()
        assert entry["supports"]["fused"] == fusable(parse_job(body, Limits())), entry["kind"]
    alone = {e["kind"] for e in entries("optimizers") if not e["supports"]["fused"]}
    assert alone == {"asgd", "adafactor", "lbfgs", "shampoo", "soap"}


def test_the_page_of_the_catalogue_is_the_catalogue() -> None:
    path = Path(__file__).resolve().parents[3] / "scripts" / "catalog_docs.py"
    spec = importlib.util.spec_from_file_location("catalog_docs", path)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text() == script.page(), "run python scripts/catalog_docs.py"
