"""Examples: a small job for every kind that the catalogue lists, ready to post."""

from typing import Any, Final

from core.specs.base import Json
from core.specs.losses import METRICS
from core.specs.unions import members

REQUIRED: Final[dict[str, Json]] = {
    "step": {"step_size": 10},
    "multistep": {"milestones": [5, 10]},
    "exponential": {"gamma": 0.99},
    "cosine_warm_restarts": {"T_0": 5},
    "cyclic": {"base_lr": 0.001, "max_lr": 0.01},
    "piecewise": {"boundaries": [5, 10], "factors": [1.0, 0.5, 0.1]},
    "warmup": {"steps": 2},
    "sequential": {
        "schedules": [{"kind": "constant"}, {"kind": "exponential", "gamma": 0.9}],
        "milestones": [5],
    },
    "chained": {"schedules": [{"kind": "linear"}, {"kind": "exponential", "gamma": 0.99}]},
    "quadratic": {"eigenvalues": [1.0, 10.0]},
    "expression": {"expression": "0.1*x1**2 + 2*x2**2"},
    "builtin": {"name": "digits"},
    "synthetic": {"generator": {"kind": "moons"}},
    "inline": {"features": [[0.0, 1.0], [1.0, 0.0]], "targets": [0, 1]},
    "text": {"text": "to be or not to be, that is the question"},
    "dataset": {"id": "data_01k2m3n4p5q6r7s8t9v0w1x2y3", "target": "price"},
    "column": {"name": "fold", "eval": [0], "test": [1]},
    "explicit": {"steps": [[0, 1], [2, 3]]},
    "supervised": {"data": {"kind": "builtin", "name": "digits"}, "model": {"kind": "mlp"}},
    "reconstruction": {
        "data": {"kind": "builtin", "name": "digits"},
        "model": {"kind": "autoencoder"},
    },
    "language_model": {
        "data": {"kind": "text", "text": "to be or not to be, that is the question"},
        "model": {"kind": "transformer"},
        "context": 8,
    },
    "forecast": {
        "data": {"kind": "dataset", "id": "data_01k2m3n4p5q6r7s8t9v0w1x2y3", "target": "price"},
        "model": {"kind": "gru"},
    },
    "function": {"function": {"kind": "rosenbrock"}},
    "layers": {
        "layers": [{"kind": "linear", "out_features": 8}, {"kind": "relu"}, {"kind": "linear"}]
    },
    "conv1d": {"out_channels": 2, "kernel_size": 2},
    "conv2d": {"out_channels": 2, "kernel_size": 2},
    "conv_transpose1d": {"out_channels": 2, "kernel_size": 2},
    "conv_transpose2d": {"out_channels": 2, "kernel_size": 2},
    "embed_categories": {"places": [[2, 2]], "embedding_dim": 3},
    "rnn": {"hidden_size": 4},
    "lstm": {"hidden_size": 4},
    "gru": {"hidden_size": 4},
    "transformer": {"dim": 32},
    "multihead_attention": {"num_heads": 2},
    "embedding": {"embedding_dim": 8},
    "group_norm": {"num_groups": 2},
    "max_pool1d": {"kernel_size": 2},
    "max_pool2d": {"kernel_size": 2},
    "avg_pool1d": {"kernel_size": 2},
    "avg_pool2d": {"kernel_size": 2},
    "adaptive_avg_pool1d": {"output_size": 2},
    "adaptive_avg_pool2d": {"output_size": 1},
    "upsample": {"scale_factor": 2},
    "unflatten": {"unflattened_size": [2, 2]},
    "residual": {"layers": [{"kind": "linear", "out_features": 8}, {"kind": "relu"}]},
    "branches": {"branches": [[{"kind": "relu"}], [{"kind": "tanh"}]]},
    "skip": {"source": "first"},
    "norm": {"max_norm": 1.0},
    "per_parameter": {"max_norm": 1.0},
    "value": {"clip_value": 0.5},
    "random": {"num_runs": 20},
    "tpe": {"num_runs": 20},
}
"""Values of the fields without defaults, for examples."""

_INLINE: Final[Json] = {
    "kind": "inline",
    "features": [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]] * 4,
    "targets": [0, 1, 1, 0] * 4,
}


def choice(family: str, kind: str) -> Any:
    """Return what a spec says to choose this kind, with its defaults: what its schema describes."""
    if family == "activations":
        return kind
    if family == "datasets" and kind not in members("generator"):
        return _data(kind)
    return {"kind": kind, **REQUIRED.get(kind, {})}


def minimal_example(family: str, kind: str) -> Json:  # noqa: C901, PLR0912 (one case a family)
    """Return a small job spec that uses this kind with its defaults."""
    chosen = choice(family, kind)
    supervised: Json = {
        "kind": "supervised",
        "data": {"kind": "builtin", "name": "iris"},
        "model": {"kind": "mlp", "hidden": [8]},
    }
    spec: Json = {"problem": supervised, "optimizer": {"kind": "adam"}}
    of_tokens = _of_tokens(family, chosen)
    if of_tokens is not None:
        return {**spec, "problem": of_tokens}
    match family:
        case "optimizers" | "schedules":
            spec[family.removesuffix("s")] = chosen
        case "functions":
            spec["problem"] = {"kind": "function", "function": chosen}
            if kind == "expression":
                spec["problem"]["start"] = {"x1": -5.0, "x2": -2.0}
        case "models":
            supervised |= {"kind": _PROBLEM_OF.get(kind, "supervised"), "model": chosen}
        case "layers" if kind in members("norm"):
            supervised["model"]["norm"] = chosen
        case "layers":
            supervised["model"] = {"kind": "layers", "layers": _list_with(kind, chosen)}
        case "activations":
            supervised["model"]["activation"] = chosen
        case "initializers":
            supervised["model"]["init"] = chosen
        case "losses":
            supervised["loss"] = chosen
            supervised["data"]["name"] = _DATA_FOR_LOSS.get(kind, "diabetes")
        case "metrics":
            spec["record"] = {"metrics": [chosen]}
            values = "values" in METRICS[kind].suits
            supervised["data"]["name"] = "diabetes" if values else "iris"
        case "datasets":
            supervised["data"] = _data(kind)
        case _:
            raise ValueError(f"no family {family!r}")
    return spec


def _of_tokens(family: str, chosen: Any) -> Json | None:
    """Return a model of language that uses this kind; None where it is not of tokens."""
    match family, chosen:
        case "layers", {"kind": "embedding"}:
            layers = [chosen, {"kind": "gru", "hidden_size": 8}, {"kind": "linear"}]
            model: Json = {"kind": "layers", "layers": layers}
        case "datasets", {"kind": "text"}:
            model = {"kind": "transformer"}
        case _:
            return None
    return {"kind": "language_model", "data": _data("text"), "model": model, "context": 8}


def _list_with(kind: str, layer: Json) -> list[Json]:
    """Return a small model of rows of four features with this layer in a place where it can stand:
    of features, of a line or an image of them, or of a sequence."""
    wide: Json = {"kind": "linear", "out_features": 8}
    end: list[Json] = [{"kind": "linear"}]
    if kind in _OF_SEQUENCES:
        axes = {"kind": "unflatten", "unflattened_size": [4, 1]}
        return [axes, wide, layer, {"kind": "flatten"}, *end]
    if kind == "final_state":
        axes = {"kind": "unflatten", "unflattened_size": [4, 1]}
        return [axes, {"kind": "gru", "hidden_size": 8}, layer, *end]
    if kind.endswith(("1d", "2d")) or kind == "upsample":
        sizes = [1, 4] if kind.endswith("1d") else [1, 2, 2]
        axes = {"kind": "unflatten", "unflattened_size": sizes}
        return [axes, layer, {"kind": "flatten"}, *end]
    match kind:
        case "linear":
            return [wide, {"kind": "relu"}, layer]
        case "embed_categories":
            return [layer, {"kind": "relu"}, *end]
        case "unflatten":
            return [layer, {"kind": "flatten"}, *end]
        case "transpose" | "select" | "mean" | "flatten":
            axes = {"kind": "unflatten", "unflattened_size": [2, 2]}
            return [axes, layer, {"kind": "flatten"}, *end]
        case "skip":
            return [{**wide, "name": "first"}, {"kind": "relu"}, layer, *end]
        case _:
            return [wide, layer, {"kind": "relu"}, *end]


_OF_SEQUENCES: Final = frozenset({"rnn", "lstm", "gru", "multihead_attention", "positions"})

_PROBLEM_OF: Final = {"autoencoder": "reconstruction"}

_DATA_FOR_LOSS: Final = {
    "cross_entropy": "iris",
    "multi_margin": "iris",
    "binary_cross_entropy": "breast_cancer",
}


def _data(kind: str) -> Json:
    if kind == "inline":
        return _INLINE
    if kind in ("dataset", "text"):
        return {"kind": kind, **REQUIRED[kind]}
    if kind in members("generator"):
        return {"kind": "synthetic", "generator": {"kind": kind}}
    return {"kind": "builtin", "name": kind}
