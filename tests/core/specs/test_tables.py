"""The spec's fields and defaults are torch's, and the tables are those of the installed libraries.

Three things are compared in a chain: the installed libraries with the tables, and the tables with
the spec's models; so that the API, which has no torch, accepts what torch accepts.
"""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from pydantic_core import PydanticUndefined

from core.specs.base import Spec
from core.specs.optimizers.kinds import OwnOptimizer
from core.specs.unions import members

ROOT = Path(__file__).parents[3]
TABLES = ROOT / "core" / "specs" / "tables"

OPTIMIZERS = {
    "sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "adamax": "Adamax", "nadam": "NAdam",
    "radam": "RAdam", "adagrad": "Adagrad", "adadelta": "Adadelta", "rmsprop": "RMSprop",
    "rprop": "Rprop", "asgd": "ASGD", "adafactor": "Adafactor", "muon": "Muon",
    "lbfgs": "LBFGS",
}  # fmt: skip
NOT_FOR_PLAIN_PARAMETER_LISTS = {
    "SparseAdam": "wants sparse gradients",
}
OF_PARAMETERS_THAT_TORCH_LEAVES_OUT = {"adamw_betas", "adamw_eps", "adamw_lr_scale"}
OF_OURS = {"cautious", "decoupled_weight_decay", "wrap", "groups"}
"""Options that a kind may have where torch's has not."""
NEVER_CHANGE_THE_RESULT = {"capturable", "differentiable"}

SCHEDULES = {
    "constant_factor": "ConstantLR", "linear": "LinearLR", "step": "StepLR",
    "multistep": "MultiStepLR", "exponential": "ExponentialLR", "polynomial": "PolynomialLR",
    "cosine": "CosineAnnealingLR", "cosine_warm_restarts": "CosineAnnealingWarmRestarts",
    "one_cycle": "OneCycleLR", "cyclic": "CyclicLR", "reduce_on_plateau": "ReduceLROnPlateau",
    "sequential": "SequentialLR", "chained": "ChainedScheduler",
}  # fmt: skip
NEED_CODE = {"LambdaLR", "MultiplicativeLR"}
OWN_SCHEDULES = {
    "constant", "warmup", "warmup_stable_decay", "inverse_sqrt", "power_cooldown",
    "cosine_with_min_lr", "piecewise",
}  # fmt: skip
LEFT_OUT = {
    "cyclic": {"scale_fn"},  # code
    "one_cycle": {"epochs", "steps_per_epoch"},  # another way to say total_steps
    "reduce_on_plateau": {"mode"},  # the loss is minimized
}
RENAMED = {"schedulers": "schedules"}
SETTLED_BY_THE_SPEC = {
    ("polynomial", "total_iters"), ("cosine", "T_max"), ("one_cycle", "max_lr"),
    ("one_cycle", "cycle_momentum"), ("cyclic", "cycle_momentum"),
}  # fmt: skip
"""Fields that may be left out: `core.specs.parsing.job` derives them from the rest of the spec."""


def table(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((TABLES / name).read_text())
    return loaded


@pytest.fixture(scope="module")
def signatures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("signatures", ROOT / "scripts/signatures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_those_of_the_installed_libraries(signatures: ModuleType) -> None:
    for name, text in signatures.rendered().items():
        assert (TABLES / name).read_text() == text, f"run python scripts/signatures.py: {name}"


def test_every_optimizer_that_a_plain_parameter_list_can_use_is_offered() -> None:
    known = set(OPTIMIZERS.values()) | set(NOT_FOR_PLAIN_PARAMETER_LISTS)
    assert known == set(table("torch_optim.json"))
    own = {kind for kind, model in members("optimizer").items() if issubclass(model, OwnOptimizer)}
    assert set(OPTIMIZERS) | own == set(members("optimizer"))


def test_every_schedule_that_needs_no_code_is_offered() -> None:
    assert set(SCHEDULES.values()) | NEED_CODE == set(table("torch_schedules.json"))
    assert set(SCHEDULES) | OWN_SCHEDULES == set(members("schedule"))


def differences(
    kind: str, model: type[Spec], torch_fields: dict[str, Any], left_out: set[str]
) -> list[str]:
    wanted = {RENAMED.get(name, name): entry for name, entry in torch_fields.items()}
    ours = {name: field for name, field in model.model_fields.items() if name != "kind"}
    odd = ((set(wanted) - left_out) ^ set(ours)) - (OF_OURS - set(wanted))
    found = [f"{kind}.{name} is on one side only" for name in odd]
    for name in set(wanted) & set(ours):
        default = ours[name].default
        if (kind, name) in SETTLED_BY_THE_SPEC:
            if default is not None:
                found.append(f"{kind}.{name} has the default {default}")
        elif wanted[name].get("required"):
            if default is not PydanticUndefined:
                found.append(f"{kind}.{name} has the default {default}")
        elif json.loads(json.dumps(default)) != wanted[name]["default"]:
            found.append(f"{kind}.{name}: {default} here, {wanted[name]['default']} in torch")
    return found


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_an_optimizer_has_the_options_and_defaults_of_torch(kind: str) -> None:
    torch_fields = table("torch_optim.json")[OPTIMIZERS[kind]]
    model = members("optimizer")[kind]
    if kind == "muon":
        torch_fields = torch_fields | {
            name: {"default": json.loads(json.dumps(model.model_fields[name].default))}
            for name in OF_PARAMETERS_THAT_TORCH_LEAVES_OUT
        }
    assert differences(kind, model, torch_fields, NEVER_CHANGE_THE_RESULT) == []


@pytest.mark.parametrize("kind", SCHEDULES)
def test_a_schedule_has_the_options_and_defaults_of_torch(kind: str) -> None:
    torch_fields = table("torch_schedules.json")[SCHEDULES[kind]]
    model = members("schedule")[kind]
    assert differences(kind, model, torch_fields, LEFT_OUT.get(kind, set())) == []


EDGES: dict[str, list[Any]] = {
    "lr": [-1.0],
    "momentum": [-0.1],
    "weight_decay": [-0.1],
    "betas": [[-0.1, 0.9], [0.9, 1.0], [1.0, 0.9]],
    "eps": [-1e-9],
    "momentum_decay": [-0.1],
    "lr_decay": [-0.1],
    "initial_accumulator_value": [-0.1],
    "rho": [-0.1, 1.1],
    "alpha": [-0.1],
    "etas": [[0.0, 1.2], [1.0, 1.2], [0.5, 1.0]],
    "beta2_decay": [0.1],
    "d": [0.9],
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_what_torch_refuses_is_refused_here(kind: str) -> None:
    cls, model = getattr(torch.optim, OPTIMIZERS[kind]), members("optimizer")[kind]
    parameters = [torch.nn.Parameter(torch.ones(2, 2))]
    for name in set(EDGES) & set(model.model_fields):
        for edge in EDGES[name]:
            pair = [None, -1e-9] if (kind, name) == ("adafactor", "eps") else edge
            value = tuple(pair) if isinstance(pair, list) else pair
            if (kind, name) in (("asgd", "alpha"), ("muon", "eps")):
                continue  # torch takes any; what is negative would make no average, and no norm
            with pytest.raises(ValueError):  # noqa: PT011
                cls(parameters, **{name: value})
            with pytest.raises(ValueError, match=name):
                model.model_validate_json(json.dumps({"kind": kind, name: pair}))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_defaults_are_accepted_by_torch(kind: str) -> None:
    torch_fields = table("torch_optim.json")[OPTIMIZERS[kind]]
    left_out = {"kind"} | (OF_OURS - set(torch_fields))
    left_out |= OF_PARAMETERS_THAT_TORCH_LEAVES_OUT if kind == "muon" else set()
    options = members("optimizer")[kind].model_validate({"kind": kind}).model_dump(exclude=left_out)
    parameters = [torch.nn.Parameter(torch.ones(2, 2))]
    assert getattr(torch.optim, OPTIMIZERS[kind])(parameters, **options)
