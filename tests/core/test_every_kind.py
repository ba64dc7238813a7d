"""Every kind of every union goes through each function that tells kinds apart.

The bodies are made from the unions themselves: a new kind comes here by itself, and fails here
where it was forgotten (or in mypy, where a match ends in `assert_never`).
"""

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import pytest
import torch

from core.diagnosis.diagnose import diagnose
from core.diagnosis.evidence.evidence import Evidence, gather
from core.diagnosis.evidence.theory import longest_stride, method_of
from core.diagnosis.remedies.model import (
    add_dropout,
    better_start,
    keep_the_gradient,
    normalize_layers,
    other_weights,
)
from core.specs.catalog import FAMILIES, entries, kinds
from core.specs.examples import minimal_example
from core.specs.job import FunctionProblem, JobSpec
from core.specs.optimizers.kinds import NotFused
from core.specs.parsing.job import parse_job
from core.specs.parsing.remedy import remedied
from core.specs.sizes.cost import estimate, memory_parts
from core.specs.sizes.extent import extent_of, num_steps
from core.specs.sizes.fusing import bytes_per_run, fusable, groups, structure_key
from core.specs.studies.parse import parse_study
from core.specs.studies.runs import configurations
from core.specs.unions import SWEEPS, UNIONS, kind_of, members, tag_of
from core.specs.validation.auto_lr import settled
from core.specs.validation.limits import Limits
from core.train.data.uploaded import uploads_from
from core.train.fused.problems.build import build_stacked
from core.train.fused.stack.stack import Stack
from core.train.measure.measure import measure
from core.train.optim.torch_rules.build import rule_of
from core.train.state import reads_loss
from tests.core.train.data.uploads import EXAMPLE_ID, Stored, stored
from tests.core.train.fused.harness import train_population
from tests.core.train.harness import train

Json = dict[str, Any]

STEPS: Final = 4
DEVICE: Final = torch.device("cpu")
OWN: Final[dict[str, Json]] = {
    "gradient_clip": {
        "norm": {"max_norm": 1.0},
        "value": {"clip_value": 0.5},
        "per_parameter": {"max_norm": 0.5},
        "adaptive": {},
    },
    "on_divergence": {},
    "order": {"explicit": {"steps": [[0, 1], [2, 3, 4]]}},
    "augment": {},
    "split": {"column": {"name": "rooms", "eval": [0], "test": [6]}},
    "tokenizer": {"characters": {}, "bytes": {}, "byte_pair": {"vocabulary_size": 260}},
    "wrap": {},
}
"""Unions of a job that the catalogue does not list: fields without a default, by kind."""
IN_FAMILIES: Final = {
    "problem", "data", "generator", "model", "norm", "init", "loss", "function", "optimizer",
    "schedule", "then", "schedules", "layers", "metrics",
}  # fmt: skip
STRATEGIES: Final[dict[str, Json]] = {"random": {"num_runs": 3}, "tpe": {"num_runs": 3}}


def own_example(field: str, kind: str) -> Json:
    choice = {tag_of(field): kind, **OWN[field].get(kind, {})}
    body = minimal_example("optimizers", "sgd")
    if field == "order":
        body["problem"]["data"]["order"] = choice
        return body
    if field == "split":
        of = "dataset" if kind == "column" else "iris"
        body = minimal_example("datasets", of)
        body["problem"]["data"] = {**body["problem"]["data"], "split": choice}
        return body
    if field == "augment":
        body = minimal_example("models", "cnn")
        body["problem"]["data"] = {"kind": "builtin", "name": "digits", "augment": [choice]}
        return body
    if field == "tokenizer":
        body["problem"] = {**minimal_example("datasets", "text")["problem"], "tokenizer": choice}
        return body
    if field == "wrap":
        body["optimizer"] = {**body["optimizer"], "wrap": [choice]}
        return body
    return {**body, field: choice}


def bodies() -> dict[str, Json]:
    """A job's body by what it is for."""
    listed = {
        f"{family}-{kind}": minimal_example(family, kind)
        for family in FAMILIES
        for kind in kinds(family)
    }
    own = {f"{field}-{kind}": own_example(field, kind) for field in OWN for kind in members(field)}
    return {**listed, **own}


BODIES: Final = bodies()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """The data set that the catalogue's example names."""
    lines = "".join(f"{i}.5,{i % 7},{3 * i}.25\n" for i in range(40))
    folder = tmp_path_factory.mktemp("upload")
    return stored(folder, f"size,rooms,price\n{lines}".encode())


@pytest.fixture(autouse=True)
def reading(file: Stored) -> Iterator[None]:
    with uploads_from(file.store):
        yield


@pytest.fixture(params=BODIES)
def spec(request: pytest.FixtureRequest, file: Stored) -> JobSpec:
    body = {"precision": "float64", **BODIES[request.param], "budget": {"max_steps": STEPS}}
    data = body["problem"].get("data", {})
    if "generator" in data:
        data = {**data, "generator": {**data["generator"], "num_samples": 40}}
        body["problem"] = {**body["problem"], "data": data}
    return parse_job(json.dumps(body).encode(), Limits(), {EXAMPLE_ID: file.facts})


def test_every_union_of_a_job_has_its_examples() -> None:
    lists_of_layers = {"shortcut", "branches"}
    assert IN_FAMILIES | set(OWN) | {"strategy"} | lists_of_layers == set(UNIONS)


def test_each_kind_has_a_size_a_price_and_a_theory(spec: JobSpec) -> None:
    price = estimate(spec)
    assert price.num_parameters > 0
    assert price.num_steps == num_steps(spec) == STEPS
    assert min(memory_parts(spec, extent_of(spec), STEPS).values()) >= 0
    assert 0 < bytes_per_run(spec) < 2**40
    assert longest_stride(spec) > 0
    assert method_of(spec).family
    assert settled(spec, 0.125).optimizer.lr == 0.125


def test_each_kind_trains_and_is_diagnosed(spec: JobSpec, tmp_path: Path) -> None:
    trained = train(spec, tmp_path)
    assert len(trained.events.histories["train"]) == STEPS

    columns = {name: np.array(trained.column(name)) for name in ("step", "loss", "lr", "grad_norm")}
    if isinstance(spec.problem, FunctionProblem):
        columns["x"] = np.array(trained.column("x"))
    measured = measure(spec, None, budget_s=0.1)
    found = diagnose(spec, "budget_exhausted", None, columns, None, measured)
    assert found["verdict"]

    for patch in patches_of_the_model(gather(spec, "budget_exhausted", columns, None)):
        # Refused where the patch names a field that this kind does not have.
        child = remedied(json.loads(spec.model_dump_json()), patch, Limits())
        assert type(child.problem) is type(spec.problem)


def patches_of_the_model(evidence: Evidence) -> list[Json]:
    found = chain(
        better_start(evidence),
        keep_the_gradient(evidence),
        normalize_layers(evidence),
        add_dropout(evidence, 1.0),
        other_weights(evidence),
    )
    return [remedy.patch for remedy in found]


def test_each_kind_is_fused_or_trains_alone(spec: JobSpec) -> None:
    together = [spec, spec.model_copy(update={"seed": spec.seed + 1})]
    assert fusable(spec) == (structure_key(spec) is not None)
    assert groups(together) == ([[0, 1]] if fusable(spec) else [[0], [1]])
    stacked: list[int] = []

    class Counted(Stack):
        def __init__(self, specs: Any, *args: Any) -> None:
            stacked.append(len(specs))
            super().__init__(specs, *args)

    gathered = train_population(together, make_stack=Counted)
    assert stacked == ([2] if fusable(spec) else [])
    assert len(gathered.received[0].histories["train"]) == STEPS
    assert len(gathered.received[1].histories["train"]) == STEPS


def test_what_is_fused_is_said_once() -> None:
    alone = {kind_of(model) for model in get_args(NotFused)}
    for kind, model in members("optimizer").items():
        optimizer: Any = model.model_validate({"kind": kind})
        assert (rule_of(optimizer) is None) == (kind in alone), kind
    listed = {entry["kind"]: entry["supports"]["fused"] for entry in entries("optimizers")}
    assert {kind for kind, fused in listed.items() if not fused} == alone


@pytest.mark.parametrize("family", ["models", "layers"])
def test_what_the_catalogue_says_of_stacks_is_what_is_done(family: str) -> None:
    for entry in entries(family):
        spec = parse_job(json.dumps(entry["example"]).encode(), Limits())
        assert fusable(spec) == entry["supports"]["fused"], entry["kind"]


def holders() -> list[str]:
    """Schedules that hold others, told by their fields."""
    fields = {"then", "schedules"}
    return [kind for kind, model in members("schedule").items() if fields & set(model.model_fields)]


@pytest.mark.parametrize("kind", [kind for kind in holders() if kind != "chained"])
def test_a_schedule_is_looked_into(kind: str) -> None:
    """Of `chained` the rules refuse a part that follows the loss."""
    inner: Json = {"kind": "reduce_on_plateau"}
    body = minimal_example("schedules", kind)
    if "schedules" in body["schedule"]:
        body["schedule"]["schedules"] = [*body["schedule"]["schedules"][:-1], inner]
    else:
        body["schedule"]["then"] = inner
    assert reads_loss(parse_job(json.dumps(body).encode(), Limits()).schedule)


def test_each_sweep_and_strategy_makes_configurations() -> None:
    sweeps: dict[str, Json] = {
        "values": {"values": [0.1, 0.2]},
        "log": {"log": [0.01, 0.1], "count": 3},
        "linear": {"linear": [0.1, 0.2], "count": 3},
        "integers": {"integers": [1, 3]},
    }
    assert set(sweeps) == set(SWEEPS)
    for form, sweep in sweeps.items():
        path = "seed" if form == "integers" else "optimizer.lr"
        for kind in members("strategy"):
            study = {
                "base": {**minimal_example("optimizers", "sgd"), "budget": {"max_steps": STEPS}},
                "sweep": {path: sweep},
                "strategy": {"kind": kind, **STRATEGIES.get(kind, {})},
            }
            resolved = parse_study(json.dumps(study).encode(), Limits())
            assert resolved.num_runs == (3 if kind == "tpe" or form != "values" else 2)
            assert len(configurations(resolved.spec)) == (0 if kind == "tpe" else resolved.num_runs)


def test_a_stack_is_built_of_each_problem() -> None:
    for body in (minimal_example("models", "mlp"), minimal_example("functions", "sphere")):
        spec = parse_job(json.dumps(body).encode(), Limits())
        assert build_stacked([spec, spec], DEVICE).num_parameters == estimate(spec).num_parameters
