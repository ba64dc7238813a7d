"""Exported models: onnxruntime's outputs are those of predictions, for any number of rows.

python -m tests.core.train.inference.test_onnx      every kind of the catalogue, one by one
"""

import json
import sys
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from core.settings import Settings
from core.specs import catalog
from core.specs.examples import minimal_example
from core.specs.layers.expand import expand
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.inference.model import TrainedModel
from core.train.inference.onnx import PREPROCESSING, export_onnx
from core.train.models.layered import LayeredModel
from core.uses.model import ModelFacts
from core.uses.posted import coder_of

Json = dict[str, Any]
CLOSE = 1e-5
LETTERS = " abc"


def some_model(body: Json, *, scaled: bool = False) -> TrainedModel:
    """A model of this spec with some weights, standardization and, where asked for, scaling."""
    facts = ModelFacts.of(parse_job(json.dumps(body).encode(), Limits.of(Settings())))
    inputs, outputs = facts.num_inputs, facts.num_outputs
    precision = torch.float64 if facts.precision == "float64" else torch.float32
    module = LayeredModel(expand(facts.model, facts.inputs, outputs), precision)
    source = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        with torch.no_grad():
            parameter.uniform_(-0.5, 0.5, generator=source)
    names = [f"x{number}" for number in range(inputs)]
    metadata = {"feature_names": json.dumps(names), "step": "7"}
    of_tokens = facts.context is not None
    if of_tokens:
        metadata["tokenizer"] = json.dumps({"kind": "characters", "characters": LETTERS})
    return TrainedModel(
        facts,
        module.eval(),
        metadata,
        coder_of(metadata, facts),
        torch.device("cpu"),
        None if of_tokens else np.linspace(-1, 1, inputs),
        None if of_tokens else np.linspace(0.5, 2, inputs),
        np.full(outputs, 0.5) if scaled else None,
        np.full(outputs, 2.0) if scaled else None,
    )


def some_rows(facts: ModelFacts, count: int, kind: Any) -> Any:
    source, shape = np.random.default_rng(count), (count, facts.num_inputs)
    if facts.context is not None:
        return source.integers(0, facts.num_outputs, shape)
    return source.normal(size=shape).astype(kind)


def largest_difference(model: TrainedModel) -> float:
    """Compare the file's outputs with the model's at four numbers of rows, beside the largest of
    them where that is above 1; fails where the file says something else than it should."""
    kind: Any = np.float64 if model.facts.precision == "float64" else np.float32
    rows = [some_rows(model.facts, count, kind) for count in (1, 2, 7, 64)]
    with model.settled():
        expected = [model.in_units(model.outputs(x.astype(np.float64))).numpy() for x in rows]
    session = onnxruntime.InferenceSession(export_onnx(model))
    about = json.loads(session.get_modelmeta().custom_metadata_map[PREPROCESSING])
    assert about["feature_names"] == json.loads(model.metadata["feature_names"])
    assert [each.name for each in session.get_inputs()] == ["features"]
    found = [session.run(["outputs"], {"features": x})[0] for x in rows]
    assert {each.dtype for each in found} == {np.dtype(kind)}
    size = max(1.0, *(float(np.abs(each).max()) for each in expected))
    return max(float(np.abs(a - b).max()) for a, b in zip(found, expected, strict=True)) / size


LAYERS: list[Json] = [
    {"kind": "unflatten", "unflattened_size": [1, 4]},
    {"kind": "conv1d", "out_channels": 4, "kernel_size": 3, "padding": 1},
    {"kind": "batch_norm"},
    {"kind": "relu"},
    {"kind": "transpose", "dim0": 1, "dim1": 2},
    {"kind": "gru", "hidden_size": 4},
    {"kind": "residual", "layers": [{"kind": "multihead_attention", "num_heads": 2}]},
    {"kind": "dropout", "p": 0.5},
    {"kind": "flatten"},
    {"kind": "linear"},
]


def test_a_model_of_many_kinds_of_layers_is_the_same_elsewhere() -> None:
    body = minimal_example("models", "linear")
    body["problem"]["model"] = {"kind": "layers", "layers": LAYERS}
    assert largest_difference(some_model(body)) < CLOSE


def test_a_model_of_images_takes_them_as_rows() -> None:
    body = minimal_example("models", "cnn")
    body["problem"]["data"]["name"] = "digits"
    model = some_model(body)
    assert model.facts.num_inputs == 64
    assert largest_difference(model) < CLOSE


def test_values_come_in_their_units_and_in_the_precision_of_the_training() -> None:
    body = minimal_example("losses", "mse") | {"precision": "float64"}
    assert largest_difference(some_model(body, scaled=True)) < CLOSE


def sequences() -> list[Json]:
    """Models of texts and of series of each kind of recurrent layer, and of attention."""
    rows = np.zeros((40, 2)).tolist()
    series = {"kind": "forecast", "data": {"kind": "inline", "features": rows, "targets": rows},
              "window": 6, "horizon": 3}  # fmt: skip
    text = {"kind": "language_model", "data": {"kind": "text", "text": LETTERS * 20}, "context": 5}
    cells = [{"kind": kind, "hidden_size": 4} for kind in ("rnn", "lstm", "gru")]
    attention = [{"kind": "transformer", "dim": 8, "num_heads": 2, "positions": positions}
                 for positions in ("learned", "rotary")]  # fmt: skip
    both_ways = [cell | {"bidirectional": True, "num_layers": 2} for cell in cells]
    return [
        *({**series, "model": model} for model in [*both_ways, *attention]),
        *({**text, "model": model} for model in [*cells, *attention]),
    ]


@pytest.mark.parametrize("of", ["forecast", "language_model"])
def test_models_of_sequences_are_the_same_elsewhere(of: str) -> None:
    problem = next(each for each in reversed(sequences()) if each["kind"] == of)
    model = some_model({"problem": problem, "optimizer": {"kind": "adam"}})
    assert largest_difference(model) < CLOSE


@pytest.mark.parametrize("family", ["models", "layers", "activations"])
def test_the_catalogue_says_what_can_be_exported(family: str) -> None:
    assert all(entry["supports"]["onnx"] for entry in catalog.entries(family))
    assert not any(entry["supports"]["onnx"] for entry in catalog.entries("functions"))


def main() -> None:
    """Export each kind of the catalogue, and print how far its outputs are off."""
    failed = []
    for family in ("models", "layers", "activations"):
        for kind in catalog.kinds(family):
            difference = largest_difference(some_model(minimal_example(family, kind)))
            print(f"{family:12} {kind:20} {difference:.1e}", flush=True)  # noqa: T201
            if not difference < CLOSE:
                failed.append(kind)
    for problem in sequences():
        body = {"problem": problem, "optimizer": {"kind": "adam"}}
        difference = largest_difference(some_model(body))
        print(f"{problem['kind']:16} {problem['model']} {difference:.1e}", flush=True)  # noqa: T201
        if not difference < CLOSE:
            failed.append(f"{problem['kind']} {problem['model']['kind']}")
    sys.exit(f"off by more than {CLOSE:g}: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
