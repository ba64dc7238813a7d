"""Entries of the catalogue, built from the models of the spec."""

from functools import cache
from typing import Any, Final, get_args

from core.specs.base import Json, Spec
from core.specs.catalog.texts import TEXTS
from core.specs.data import Builtin, Inline, InlineText, Upload
from core.specs.examples import choice, minimal_example
from core.specs.formulas.classic import CLASSICS
from core.specs.losses import METRICS, Targets
from core.specs.models import Activation
from core.specs.optimizers.kinds import NotFused
from core.specs.unions import kind_of, members

FIELD_OF: Final = {
    "optimizers": "optimizer",
    "schedules": "schedule",
    "models": "model",
    "layers": "layers",
    "losses": "loss",
    "metrics": "metrics",
    "functions": "function",
    "initializers": "init",
}
"""Families that are one field's choices: the field's name in `unions.UNIONS`."""

FAMILIES: Final = (
    "optimizers",
    "schedules",
    "models",
    "layers",
    "activations",
    "losses",
    "metrics",
    "functions",
    "datasets",
    "initializers",
)


def kinds(family: str) -> tuple[str, ...]:
    """Return the kinds of a family of `FAMILIES`, in the catalogue's order."""
    return tuple(_schemas(family))


@cache
def entries(family: str) -> tuple[Json, ...]:
    """Return the contract's entries, each with an example. Do not change them: they are shared."""
    found = []
    for kind, schema in _schemas(family).items():
        summary, source = _text(family, kind)
        found.append(
            {
                "kind": kind,
                "summary": summary,
                "schema": {**schema, "examples": [choice(family, kind)]},
                "example": minimal_example(family, kind),
                "source": source,
                "supports": _supports(family, kind),
                **(_of_metric(kind) if family == "metrics" else {}),
            }
        )
    return tuple(found)


def _schemas(family: str) -> dict[str, Json]:
    if family in FIELD_OF:
        return {kind: _schema(model) for kind, model in models_of(family).items()}
    if family == "activations":
        return {name: {"const": name, "type": "string"} for name in get_args(Activation)}
    generators = {kind: _schema(model) for kind, model in members("generator").items()}
    others: dict[str, type[Spec]] = {"inline": Inline, "text": InlineText, "dataset": Upload}
    return {
        **_builtins(), **generators, **{kind: _schema(model) for kind, model in others.items()}
    }  # fmt: skip


def models_of(family: str) -> dict[str, type[Spec]]:
    """Return the models of a family of `FIELD_OF` by kind. Among the layers are the norms that the
    hidden layers of other models may have."""
    norms = members("norm") if family == "layers" else {}
    return {**members(FIELD_OF[family]), **norms}


def _builtins() -> dict[str, Json]:
    found = {}
    for name in get_args(Builtin.model_fields["name"].annotation):
        schema = _schema(Builtin)
        schema["properties"] = {
            **schema["properties"], "name": {"const": name, "type": "string", "title": "Name"},
        }  # fmt: skip
        found[str(name)] = schema
    return found


def any_of(schema: Any) -> Any:
    """Return a schema in which a choice without kinds is `anyOf`: a list of whole numbers is one of
    numbers too, and `oneOf` would refuse what fits both."""
    if isinstance(schema, list):
        return [any_of(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: any_of(part) for name, part in schema.items()}
    if "oneOf" in found and "discriminator" not in found and isinstance(found["oneOf"], list):
        found["anyOf"] = found.pop("oneOf")
    return found


def _schema(model: type[Spec]) -> Json:
    schema: Json = any_of(model.model_json_schema())
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
    texts = TEXTS[family]
    return texts[kind] if kind in texts else TEXTS["activations"][kind]


def _of_metric(kind: str) -> Json:
    facts = METRICS[kind]
    losses = [name for name, targets in _TARGETS.items() if facts.suits & targets]
    return {"goal": facts.goal, "losses": losses if kind != "perplexity" else ["cross_entropy"]}


_VALUES: Final = frozenset[Targets]({"values"})
_TARGETS: Final[dict[str, frozenset[Targets]]] = {
    **dict.fromkeys(members("loss"), _VALUES),
    "cross_entropy": frozenset({"classes"}),
    "multi_margin": frozenset({"classes"}),
    "binary_cross_entropy": frozenset({"two_classes", "labels"}),
}
"""The targets that a loss can have, by its kind."""


def _supports(family: str, kind: str) -> Json:
    """Return `fused`: whether a study's runs with it train together as one computation; `onnx`:
    whether a trained model with it can be had as ONNX."""
    supports: Json = {
        "resume": True,
        "devices": ["cpu", "cuda"],
        "precisions": ["float32", "float64"],
    }
    if family != "functions" and kind != "lbfgs":
        supports["precisions"].append("bfloat16")
    if family == "optimizers":
        supports["fused"] = kind not in {kind_of(model) for model in get_args(NotFused)}
    if family in ("models", "layers"):
        supports["fused"] = kind != "lstm"
    if family in ("models", "layers", "activations", "functions"):
        supports["onnx"] = family != "functions"
    return supports
