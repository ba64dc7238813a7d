"""A trained model as an ONNX file: rows of coded numbers in, outputs out."""

import contextlib
import json
import logging
import warnings
from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor, nn

from core.errors import JobFailure
from core.train.inference.model import TrainedModel

INPUT, OUTPUT = "features", "outputs"
"""Names of what the graph takes and gives."""
PREPROCESSING: Final = "preprocessing.json"
"""The metadata that say what the numbers of a row are, and what the outputs mean."""
EXAMPLE_ROWS: Final = 2
"""Rows of the example that the model is traced with: the number stays open, which one of 1 would
not."""


class Exported(nn.Module):
    """The model with standardization in front, and outputs in the units of the data behind.

    It computes in float32 in between whatever it was trained in: libraries that run the format have
    few layers in float64, and none of autocast. Numbers go in and come out in the precision of the
    training.
    """

    mean: Tensor
    scale: Tensor
    target_mean: Tensor
    target_scale: Tensor

    def __init__(self, model: TrainedModel) -> None:
        super().__init__()
        self._module = model.module.float()
        self._dtype = model.dtype
        self._is_standardized = model.mean is not None
        self._is_scaled = model.target_mean is not None
        columns = ("mean", "scale", "target_mean", "target_scale")
        for name in columns:
            column = getattr(model, name)
            if column is not None:
                self.register_buffer(name, torch.from_numpy(column).to(model.device))

    def forward(self, features: Tensor) -> Tensor:
        if self._is_standardized:  # in float64, as in training
            features = (features.double() - self.mean) / self.scale
        outputs: Tensor = self._module(features.float())
        if self._is_scaled:
            outputs = outputs.double() * self.target_scale + self.target_mean
        return outputs.to(self._dtype)


def export_onnx(model: TrainedModel) -> bytes:
    """Return the model as an ONNX file; its own weights are of float32 afterwards.

    Raises:
        JobFailure: `not_exportable`, or the libraries that write the format are not installed.
    """
    ids = model.facts.context is not None
    example = torch.zeros(
        (EXAMPLE_ROWS, model.facts.num_inputs),
        dtype=torch.int64 if ids else model.dtype,
        device=model.device,
    )
    rows = torch.export.Dim.DYNAMIC
    with model.settled(), _quiet(), torch.enable_grad():
        try:
            program = torch.onnx.export(
                Exported(model).eval(),
                (example,),
                dynamo=True,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: rows},),
                verbose=False,
            )
        except ModuleNotFoundError as error:
            message = "This worker has no libraries that write ONNX: install onnx and onnxscript."
            raise JobFailure("not_exportable", message) from error
        except torch.onnx.OnnxExporterError as error:
            message = "A layer of this model cannot be written as ONNX."
            raise JobFailure("not_exportable", message) from error
    assert program is not None
    program.model.metadata_props.update(_metadata(model))
    data: bytes = program.model_proto.SerializeToString()
    return data


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from telling of what is not there and not needed."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [each.level for each in loggers]
    try:
        for each in loggers:
            each.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in zip(loggers, before, strict=True):
            each.setLevel(level)


def _metadata(model: TrainedModel) -> dict[str, str]:
    """Return what use of the file needs to know."""
    names = ("feature_names", "class_names", "preprocessing", "standardization", "tokenizer")
    about: dict[str, Any] = {
        name: json.loads(model.metadata[name])
        for name in (*names, "target_standardization")
        if name in model.metadata
    }
    about["targets"] = model.facts.targets
    about["precision"] = model.facts.precision
    about["inputs"] = {"name": INPUT, "numbers": model.facts.num_inputs}
    about["outputs"] = {"name": OUTPUT, "numbers": model.facts.num_outputs}
    for name in ("window", "horizon", "context"):
        if (length := getattr(model.facts, name)) is not None:
            about[name] = length
    about["in_graph"] = [
        name for name in ("standardization", "target_standardization") if name in about
    ]
    rest = {name: model.metadata[name] for name in ("spec", "checkpoint", "step")
            if name in model.metadata}  # fmt: skip
    return {PREPROCESSING: json.dumps(about), **rest}
