"""Every number that a spec may name, at the ends of its range: it trains, or it is refused.

Nothing that is accepted may end in an exception: torch's constructors and closed forms take some
values that they cannot run.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from core.errors import InvalidInputError
from core.specs.examples import minimal_example
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.unions import UNIONS, members, tag_of
from core.specs.validation.limits import Limits
from tests.core.train.fused.harness import train_population
from tests.core.train.harness import train

Json = dict[str, Any]
STEPS: Final = 8
LIMITS: Final = Limits(
    max_parameters=2_000, max_memory_bytes=2**22, max_history_bytes=2**20, max_samples=1_000
)
WHOLE: Final = (-1, 0, 1, 3, 2**53)
REAL: Final = (-1.0, 0.0, 5e-324, 1.0, 2.0, 1e30, 1.7e308)

ROWS: Final[Json] = {
    "kind": "inline",
    "features": [[0.0, 1.0], [1.0, 0.5], [0.5, -1.0], [2.0, 1.0], [1.5, 1.0]],
    "targets": [0, 1, 1, 0, 1],
    "eval_fraction": 0.0,
}
PLACES: Final = {
    "optimizer": "optimizer",
    "schedule": "schedule",
    "gradient_clip": "gradient_clip",
    "on_divergence": "on_divergence",
    "model": "problem.model",
    "norm": "problem.model.norm",
    "init": "problem.model.init",
    "loss": "problem.loss",
    "function": "problem.function",
    "generator": "problem.data.generator",
    "order": "problem.data.order",
    "layers": "problem.model.layers",
    "wrap": "optimizer.wrap.0",
    "split": "problem.data.split",
    "augment": "problem.data.augment.0",
    "tokenizer": "problem.tokenizer",
}
"""Where a field of `UNIONS` stands in a spec. The others hold what these are tried in."""
FAMILY_OF: Final = {
    "optimizer": "optimizers",
    "schedule": "schedules",
    "model": "models",
    "norm": "layers",
    "init": "initializers",
    "loss": "losses",
    "function": "functions",
    "generator": "datasets",
    "layers": "layers",
}
FOUR_FEATURES: Final[Json] = {
    **ROWS,
    "features": [[0.0, 1.0, 0.5, -1.0], [1.0, 0.5, 2.0, 0.0], [0.5, -1.0, 0.0, 1.0],
                 [2.0, 1.0, -0.5, 0.5], [1.5, 1.0, 1.0, -2.0]],
}  # fmt: skip
HOLDERS: Final = {"augment": ("models", "mlp"), "tokenizer": ("datasets", "text")}
"""Family and kind of the example in which a choice of a field is tried; the others: SGD's."""
SMALL: Final[dict[str, Json]] = {
    "mlp": {"hidden": [3, 3]},
    "cnn": {"channels": [2]},
    "resnet": {"width": 2},
    "tabular": {"width": 4, "hidden": [4]},
    "transformer": {"dim": 4, "num_heads": 2, "num_layers": 1, "mlp_ratio": 1},
}
"""Options with which the kinds of models have few parameters."""
NEEDED: Final[dict[str, Json]] = {
    "norm": {"max_norm": 1.0},
    "value": {"clip_value": 1.0},
    "per_parameter": {"max_norm": 1.0},
    "explicit": {"steps": [[0, 1], [2]]},
    "folds": {"num": 5},
    "byte_pair": {"vocabulary_size": 260},
}
"""Fields without defaults of the kinds that the catalogue does not list."""


def test_every_union_of_kinds_is_tried_or_holds_what_is() -> None:
    holders = {"problem", "data", "then", "schedules", "strategy", "shortcut", "branches"}
    without_floats = {"metrics"}
    assert PLACES.keys() | holders | without_floats == UNIONS.keys()


def base_of(field: str, kind: str) -> Json:
    """A job of a few steps with this kind in it, quick to train."""
    if field in FAMILY_OF:
        spec = minimal_example(FAMILY_OF[field], kind)
    else:
        spec = minimal_example(*HOLDERS.get(field, ("optimizers", "sgd")))
        if field == "wrap":
            spec["optimizer"]["wrap"] = [{}]
        if field == "augment":
            spec["problem"]["data"] = {"kind": "builtin", "name": "digits", "augment": [{}]}
            spec["problem"]["model"] = {"kind": "linear"}
        place(spec, PLACES[field], {tag_of(field): kind, **NEEDED.get(kind, {})})
    problem = spec["problem"]
    if field == "tokenizer":
        problem["model"] = {"kind": "gru", "hidden_size": 2}
    if problem["kind"] == "supervised" and field != "augment":
        own = problem["data"]
        if field == "generator":
            own["generator"]["num_samples"] = 20
        else:
            rows = FOUR_FEATURES if field == "layers" else ROWS
            problem["data"] = {**rows, **{k: own[k] for k in ("order",) if k in own}}
            if own.get("name") == "diabetes":
                problem["data"]["targets"] = [0.0, 1.5, 1.0, 0.0, -1.0]
        if field == "split":
            split = {"kind": kind, **NEEDED.get(kind, {})}
            problem["data"] = {**without_split(ROWS), "split": split}
        problem["model"] |= SMALL.get(problem["model"]["kind"], {})
        if kind != "explicit":
            spec["batch_size"] = "full" if kind in {"lbfgs", "rprop"} else 3
    return {**spec, "budget": {"max_steps": STEPS}, "device": "cpu"}


def without_split(data: Json) -> Json:
    return {name: value for name, value in data.items() if name != "eval_fraction"}


def place(spec: Any, path: str, value: Any) -> None:
    *names, last = path.split(".")
    for name in names:
        spec = spec[int(name)] if isinstance(spec, list) else spec.setdefault(name, {})
    if isinstance(spec, list):
        spec[int(last)] = value
    else:
        spec[last] = value


def at(spec: Any, path: str) -> Any:
    for name in path.split("."):
        spec = spec[int(name)] if isinstance(spec, list) else spec[name]
    return spec


def leaves(path: str, value: Any, schema: Json) -> Iterator[tuple[str, Any]]:
    """Paths and values to try there."""
    if isinstance(value, bool):
        yield path, not value
    elif isinstance(value, int) or (value is None and "integer" in json.dumps(schema)):
        yield from ((path, number) for number in WHOLE)
        if isinstance(value, int) and "number" in json.dumps(schema):
            yield from ((path, number) for number in REAL)
    elif isinstance(value, float) or (value is None and "number" in json.dumps(schema)):
        yield from ((path, number) for number in REAL)
    elif isinstance(value, list):
        yield path, []
        yield path, value[:1] * len(value)
        for number, part in enumerate(value):
            yield from leaves(f"{path}.{number}", part, schema)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name not in {"kind", "action"}:
                inner = schema.get("properties", {}).get(name, schema)
                yield from leaves(f"{path}.{name}", part, inner)
    for option in schema.get("enum", ()):
        yield path, option


def switched(schema: Json, choice: Json) -> Iterator[Json]:
    """The choice as it is, and with each switch the other way, each word in place of another."""
    yield {}
    for name, value in choice.items():
        field = schema.get("properties", {}).get(name, {})
        if isinstance(value, bool):
            yield {name: not value}
        for word in field.get("enum", next((part["enum"] for part in field.get("anyOf", ())
                                            if "enum" in part), ())):  # fmt: skip
            if word != value:
                yield {name: word}


def tried(field: str, kind: str) -> Iterator[tuple[str, JobSpec]]:
    """What was set, and the accepted spec; what is refused says where and why."""
    base, path = base_of(field, kind), PLACES[field]
    if field == "layers":
        path = f"{path}.{[layer['kind'] for layer in at(base, path)].index(kind)}"
    schema = members(field)[kind].model_json_schema()
    if "$ref" in schema:
        schema = schema["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    seen: set[str] = set()
    for switch in switched(schema, at(resolved(base), path)):
        body = copy(base)
        place(body, path, {**at(body, path), **switch})
        try:
            whole = at(resolved(body), path)
        except InvalidInputError:  # the switch needs other numbers
            whole = {**at(resolved(base), path), **switch}
        for where, value in leaves(path, whole, schema):
            place(body, path, copy(whole))
            place(body, where, value)
            try:
                spec = parse_job(json.dumps(body).encode(), LIMITS)
            except InvalidInputError as refused:
                for error in refused.errors:
                    assert error.param.split(".")[0] in JobSpec.model_fields, error
                    assert len(error.message) > 20, error
                continue
            if spec.model_dump_json() not in seen:
                seen.add(spec.model_dump_json())
                yield f"{where} = {value!r} {switch or ''}", spec


def resolved(body: Json) -> Json:
    return parse_job(json.dumps(body).encode(), LIMITS).model_dump(mode="json")


def copy(value: Any) -> Any:
    return json.loads(json.dumps(value))


NEEDS_AN_UPLOAD: Final = ("split", "column")
"""Tried in tests/core/train/data/test_split.py."""
CASES: Final = [
    (field, kind) for field in PLACES for kind in members(field) if (field, kind) != NEEDS_AN_UPLOAD
]


@pytest.mark.parametrize(("field", "kind"), CASES)
def test_what_is_accepted_trains_alone_and_in_a_stack(
    field: str, kind: str, tmp_path: Path
) -> None:
    faults = []
    for number, (what, spec) in enumerate(tried(field, kind)):
        try:
            assert train(spec, tmp_path / str(number)).ending.outcome is not None
            together = [spec, spec.model_copy(update={"seed": 1})]
            assert train_population(together).endings[0].ending.outcome is not None
        except Exception as error:
            faults.append(f"{what}: {error!r}")
    assert not faults, "\n".join(faults)
