"""Predictions of series and texts: they give the training's own figures of the evaluation, and the
numbers of the same model written by hand in torch."""

import io
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from core.artifacts.base import ArtifactStore
from core.artifacts.build import open_artifacts
from core.artifacts.weights import WeightsPlace
from core.ids import new_id
from core.messages.reports import Ending
from core.settings import Settings
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.inference.model import TrainedModel
from core.train.inference.predict import predict_rows, read_rows
from core.train.loop import run
from core.uses.model import ModelFacts
from core.uses.posted import code_posted
from core.uses.record import INPUT_NAME
from core.uses.series import Windows
from tests.core.train.inference.test_predict import Never

Json = dict[str, Any]
ROWS, WINDOW, HORIZON = 60, 5, 3
RNG = np.random.default_rng(3)
X = RNG.normal(size=(ROWS, 2)) * [1.0, 30.0] + [0.0, 100.0]
Y = 50 + 10 * np.stack([np.sin(np.arange(ROWS)), np.cos(np.arange(ROWS) / 3)], axis=1)
SERIES: Json = {
    "kind": "forecast",
    "data": {"kind": "inline", "features": X.tolist(), "targets": Y.tolist(),
             "scale_targets": True, "split": {"kind": "tail", "eval": 0.25}},
    "window": WINDOW,
    "horizon": HORIZON,
}  # fmt: skip
TEXT = "die Katze tritt die Treppe krumm, ä: " * 12
CONTEXT = 6


class Trained(NamedTuple):
    ending: Ending
    model: TrainedModel
    weights: dict[str, torch.Tensor]
    store: ArtifactStore

    def predicted(
        self, rows: list[Any], labels: list[Any] | None = None, windows: Windows = "last"
    ) -> tuple[dict[str, NDArray[Any]], Json | None]:
        """What comes out of rows on the whole way, from the request to a worker's arrays."""
        model, use_id = self.model, new_id("pred")
        posted = code_posted(model.coder, model.facts, rows, labels, windows)
        file = io.BytesIO()
        arrays: dict[str, Any] = dict(posted.arrays)
        np.savez(file, allow_pickle=False, **arrays)
        self.store.job(use_id).write(INPUT_NAME, [file.getvalue()])
        asked = {"kind": "posted", "windows": windows}
        found, metrics = predict_rows(model, read_rows(self.store, use_id, asked, model))
        assert {len(each) for each in found.values()} == {posted.num_rows}
        return found, metrics


def trained(folder: Path, problem: Json, **changes: Any) -> Trained:
    body = {
        "problem": problem,
        "optimizer": {"kind": "adam", "lr": 0.02},
        "batch_size": "full",
        "budget": {"max_steps": 4},
        **changes,
    }
    spec = parse_job(json.dumps(body).encode(), Limits.of(Settings()))
    store, job_id = open_artifacts(str(folder)), new_id("job")
    ending = run(spec, artifacts=store.job(job_id), emit=lambda event: None, control=Never())
    place = WeightsPlace(job_id, "final.safetensors", "file", "final", 4)
    facts = ModelFacts.model_validate_json(json.dumps(ModelFacts.of(spec).to_json()))
    model = TrainedModel.load(store, place, facts, torch.device("cpu"))
    return Trained(ending, model, dict(model.module.state_dict()), store)


def a_gru(weights: dict[str, torch.Tensor], width: int, hidden: int) -> nn.GRU:
    gru = nn.GRU(width, hidden, batch_first=True, dtype=next(iter(weights.values())).dtype)
    part = "recurrent.0."
    gru.load_state_dict(
        {name.removeprefix(part): each for name, each in weights.items() if part in name}
    )
    return gru


@torch.no_grad()
def test_a_forecast_is_that_of_the_same_model_by_hand_in_units_of_the_data(tmp_path: Path) -> None:
    model = {"kind": "gru", "hidden_size": 4}
    job = trained(tmp_path, {**SERIES, "model": model}, precision="float64")
    rows = np.concatenate([X, Y], axis=1)
    found, metrics = job.predicted(rows[-9:].tolist())
    assert metrics is None
    train = ROWS * 3 // 4
    mean, scale = rows[:train].mean(0), rows[:train].std(0)
    scaled = torch.tensor((rows[-WINDOW:] - mean) / scale)
    states, _ = a_gru(job.weights, 4, 4)(scaled[None])
    head = job.weights["output.weight"], job.weights["output.bias"]
    outputs = functional.linear(states[:, -1], *head).reshape(HORIZON, 2).numpy()
    np.testing.assert_allclose(
        found["value"].reshape(HORIZON, 2), outputs * scale[2:] + mean[2:], rtol=1e-12
    )
    names = job.model.coder.outputs
    assert names == ("y1[1]", "y2[1]", "y1[2]", "y2[2]", "y1[3]", "y2[3]")


@pytest.mark.parametrize("model", [{"kind": "linear"}, {"kind": "transformer", "dim": 4}])
def test_the_windows_of_the_evaluation_have_its_figures(tmp_path: Path, model: Json) -> None:
    record = {"metrics": ["rmse", "mae", "r2"]}
    job = trained(tmp_path, {**SERIES, "model": model}, record=record)
    first = ROWS * 3 // 4 - WINDOW
    rows = np.concatenate([X, Y], axis=1)[first:]
    found, metrics = job.predicted(rows.tolist(), windows="all")
    assert len(found["value"]) == len(rows) - WINDOW + 1
    assert metrics is not None
    assert metrics["num_rows"] == len(rows) - WINDOW - HORIZON + 1
    for name, value in job.ending.result["eval"].items():
        if name != "step":
            assert metrics[name] == pytest.approx(value, rel=1e-5), name
    last, _ = job.predicted(rows.tolist())
    np.testing.assert_allclose(last["value"], found["value"][-1:], rtol=1e-5)
    _, none = job.predicted(rows[: WINDOW + 1].tolist(), windows="all")
    assert none is None  # no window has all its rows after it
    # What is known of the time after the last row may be given too.
    _, judged = job.predicted(rows.tolist(), [last["value"][0].tolist()])
    assert judged is not None
    assert judged["mae"] == pytest.approx(0.0, abs=1e-4)


def language(model: Json, tokenizer: Json) -> Json:
    data = {"kind": "text", "text": TEXT, "split": {"kind": "tail", "eval": 0.3}}
    return {"kind": "language_model", "data": data, "tokenizer": tokenizer, "context": CONTEXT,
            "model": model}  # fmt: skip


MODELS: list[Json] = [{"kind": "gru", "hidden_size": 5}, {"kind": "transformer", "dim": 4}]


@pytest.mark.parametrize("model", MODELS)
def test_the_next_characters_of_the_evaluation_have_its_loss(tmp_path: Path, model: Json) -> None:
    job = trained(tmp_path, language(model, {"kind": "characters"}))
    held_out = TEXT[len(TEXT) - round(0.3 * len(TEXT)) :]
    starts = range(0, (len(held_out) - 1) // CONTEXT * CONTEXT, CONTEXT)
    places = [(start, start + count) for start in starts for count in range(1, CONTEXT + 1)]
    texts = [held_out[start:end] for start, end in places]
    follow = [held_out[end] for _, end in places]
    found, metrics = job.predicted(texts, follow)
    classes = list(job.model.coder.classes or ())
    assert classes == [*sorted(set(TEXT)), "<other>"]
    of_next = found["probabilities"][range(len(texts)), [classes.index(each) for each in follow]]
    evaluated = job.ending.result["eval"]
    assert -np.log(of_next).mean() == pytest.approx(evaluated["loss"], rel=1e-5)
    assert metrics is not None
    assert metrics["loss"] == pytest.approx(evaluated["loss"], rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(evaluated["accuracy"])
    assert "confusion_matrix" not in metrics


TOKENIZERS: list[Json] = [
    {"kind": "characters"}, {"kind": "bytes"}, {"kind": "byte_pair", "vocabulary_size": 270},
]  # fmt: skip


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda each: each["kind"])
@torch.no_grad()
def test_the_next_token_is_told_by_the_last_ones_that_the_model_sees(
    tmp_path: Path, tokenizer: Json
) -> None:
    job = trained(tmp_path, language(MODELS[0], tokenizer))
    texts = ["d", "die Treppe, die Katze", "Öd"]
    found, metrics = job.predicted(texts)
    assert metrics is None
    about = json.loads(job.model.metadata["tokenizer"])
    for text, row in zip(texts, found["probabilities"], strict=True):
        match tokenizer["kind"]:
            case "characters":
                known = about["characters"]
                ids = [known.index(each) if each in known else len(known) for each in text]
            case "bytes":
                ids = list(text.encode())
            case _:
                from tokenizers import Tokenizer

                ids = Tokenizer.from_str(json.dumps(about["tokenizer"])).encode(text).ids
        table = job.weights["embedding.weight"]
        states, _ = a_gru(job.weights, table.shape[1], 5)(table[ids[-CONTEXT:]][None])
        head = job.weights["output.weight"], job.weights["output.bias"]
        expected = functional.linear(states[:, -1], *head).double().softmax(-1)[0]
        np.testing.assert_allclose(row, expected, rtol=1e-5)
        assert math.isclose(row.sum(), 1.0)
