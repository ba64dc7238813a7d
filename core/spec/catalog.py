"""The catalogue: everything that a spec can name, with its schema, source and what it supports.

Built from the spec's own models, so that what is listed is what is accepted.
"""

from functools import cache
from typing import Any, Final, get_args

from core.spec.base import Spec
from core.spec.catalog_texts import TEXTS
from core.spec.classics import CLASSICS
from core.spec.data import Builtin, Inline
from core.spec.families import kind_of, members
from core.spec.models import Activation
from core.spec.structure import NOT_FUSED

Json = dict[str, Any]

_UNION_OF: Final = {
    "optimizers": "optimizer",
    "schedules": "schedule",
    "models": "model",
    "layers": "norm",
    "losses": "loss",
    "functions": "function",
    "initializers": "init",
}
"""Families that are one field's choices: the field's name in `families.UNIONS`."""

FAMILIES: Final = (
    "optimizers",
    "schedules",
    "models",
    "layers",
    "activations",
    "losses",
    "functions",
    "datasets",
    "initializers",
)


def kinds(family: str) -> tuple[str, ...]:
    """The kinds of a family of `FAMILIES`, in the catalogue's order."""
    return tuple(_schemas(family))


@cache
def entries(family: str) -> tuple[Json, ...]:
    """The contract's entries `{"kind", "summary", "schema", "source", "supports"}`. Do not change
    them: they are shared."""
    found = []
    for kind, schema in _schemas(family).items():
        summary, source = _text(family, kind)
        found.append(
            {
                "kind": kind,
                "summary": summary,
                "schema": schema,
                "source": source,
                "supports": _supports(family, kind),
            }
        )
    return tuple(found)


def _schemas(family: str) -> dict[str, Json]:
    if family in _UNION_OF:
        models = members(_UNION_OF[family])
        return {kind: _schema(model) for kind, model in models.items()}
    if family == "activations":
        return {name: {"const": name, "type": "string"} for name in get_args(Activation)}
    generators = {kind: _schema(model) for kind, model in members("generator").items()}
    return {**_builtins(), **generators, "inline": _schema(Inline)}


def _builtins() -> dict[str, Json]:
    found = {}
    for name in get_args(Builtin.model_fields["name"].annotation):
        schema = _schema(Builtin)
        schema["properties"] = {
            **schema["properties"], "name": {"const": name, "type": "string", "title": "Name"},
        }  # fmt: skip
        found[str(name)] = schema
    return found


def _schema(model: type[Spec]) -> Json:
    schema = model.model_json_schema()
    if "$ref" not in schema:
        return schema
    # A model that contains itself stands among the definitions: put it at the root.
    definitions = schema["$defs"]
    return {**definitions[schema["$ref"].rsplit("/", 1)[-1]], "$defs": definitions}


def _text(family: str, kind: str) -> tuple[str, str]:
    if family == "functions" and kind in CLASSICS:
        classic = CLASSICS[kind]
        dim = classic.fixed_dim or 2
        return f"{classic.formula}; minimum {classic.minimum(dim):g} (n = {dim}).", classic.source
    return TEXTS[family][kind]


def _supports(family: str, kind: str) -> Json:
    """`fused`: whether a study's runs with it train together as one computation."""
    supports: Json = {
        "resume": True,
        "devices": ["cpu", "cuda"],
        "precisions": ["float32", "float64"],
    }
    if family == "optimizers":
        supports["fused"] = kind not in {kind_of(model) for model in NOT_FUSED}
    return supports


_REQUIRED: Final[dict[str, Json]] = {
    "step": {"step_size": 10},
    "multistep": {"milestones": [5, 10]},
    "exponential": {"gamma": 0.99},
    "cosine_warm_restarts": {"T_0": 5},
    "cyclic": {"base_lr": 0.001, "max_lr": 0.01},
    "warmup": {"steps": 5},
    "sequential": {
        "schedules": [{"kind": "constant"}, {"kind": "exponential", "gamma": 0.9}],
        "milestones": [5],
    },
    "chained": {"schedules": [{"kind": "linear"}, {"kind": "exponential", "gamma": 0.99}]},
    "quadratic": {"eigenvalues": [1.0, 10.0]},
    "expression": {"expression": "0.1*x1**2 + 2*x2**2"},
}
"""Values of the fields without defaults, for the examples."""

_INLINE: Final[Json] = {
    "kind": "inline",
    "features": [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 4,
    "targets": [0, 1, 1, 0] * 4,
}


def minimal_example(family: str, kind: str) -> Json:
    """A small job spec that uses this kind with its defaults."""
    choice: Json = {"kind": kind, **_REQUIRED.get(kind, {})}
    supervised: Json = {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "iris"},
        "model": {"kind": "mlp", "hidden": [8]},
    }
    spec: Json = {"problem": supervised, "optimizer": {"kind": "adam"}}
    match family:
        case "optimizers":
            spec["optimizer"] = choice
        case "schedules":
            spec["schedule"] = choice
        case "functions":
            spec["problem"] = {"kind": "function", "function": choice}
            if kind == "expression":
                spec["problem"]["start"] = {"x1": -5.0, "x2": -2.0}
        case "models":
            supervised["model"] = choice
        case "layers":
            supervised["model"]["norm"] = choice
        case "activations":
            supervised["model"]["activation"] = kind
        case "initializers":
            supervised["model"]["init"] = choice
        case "losses":
            supervised["loss"] = choice
            supervised["data"]["name"] = _DATA_FOR_LOSS.get(kind, "diabetes")
        case "datasets":
            supervised["data"] = _data(kind)
        case _:
            raise ValueError(f"no family {family!r}")
    return spec


_DATA_FOR_LOSS: Final = {
    "cross_entropy": "iris",
    "multi_margin": "iris",
    "binary_cross_entropy": "breast_cancer",
}


def _data(kind: str) -> Json:
    if kind == "inline":
        return _INLINE
    if kind in members("generator"):
        return {"kind": "synthetic", "generator": {"kind": kind}}
    return {"kind": "builtin", "name": kind}
