"""Predictions of rows by a trained model, and how good they are where it is known what the rows
are."""

import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.artifacts.base import ArtifactStore
from core.errors import FieldError, InvalidInputError, JobFailure, NotFoundError
from core.specs.base import Json
from core.specs.formulas.precisions import standardized
from core.specs.losses import ConfusionMatrix, CrossEntropy, MultiMargin, chosen_of, ignored_class
from core.specs.sizes.uploads import UploadFacts
from core.specs.validation.errors import shown
from core.train.data.text import encoded
from core.train.data.uploaded import scaled_images
from core.train.events import Control
from core.train.inference.model import TrainedModel
from core.train.losses import LossFunction, build_loss, share_of, target_form
from core.train.metrics import Measurement
from core.uploads.check import STORED_NAME
from core.uploads.stored import StoredFile
from core.uses.coding import Coded, Coder
from core.uses.dataset import code_columns
from core.uses.record import INPUT_NAME, RESULT_NAME
from core.uses.series import windows_of
from core.uses.texts import unpacked_texts

Arrays = dict[str, NDArray[Any]]
CONFUSION: Final = ConfusionMatrix(kind="confusion_matrix")


def predict(
    model: TrainedModel, store: ArtifactStore, use_id: str, rows: Json, control: Control
) -> Json:
    """Predict the rows of a use, and write the predictions to its artifacts.

    Returns:
        The facts of a use's result, and the bytes that it takes. Asked to stop, it ends with what
        it has, which nobody takes.

    Raises:
        JobFailure: the rows are gone, or a row is of a class that the model does not know.
    """
    coded = read_rows(store, use_id, rows, model)
    if model.facts.reconstructs:
        coded = replace(coded, labels=coded.matrix)
    arrays, metrics = predict_rows(model, coded, lambda: control.stop_requested is not None)
    size_bytes = write_predictions(store, use_id, arrays)
    return {
        "warnings": not_finite(arrays, model.facts.precision),
        "targets": model.facts.targets,
        "classes": None if model.coder.classes is None else list(model.coder.classes),
        "target_names": list(model.coder.outputs or model.coder.targets),
        "step": int(model.metadata["step"]),
        "metrics": metrics,
        "unseen": dict(coded.unseen),
        "size_bytes": size_bytes,
    }


def predict_rows(
    model: TrainedModel,
    coded: Coded,
    stops: Callable[[], bool] = lambda: False,
) -> tuple[Arrays, Json | None]:
    """Predict rows.

    Returns:
        One entry a row: `class` (an id, -1 where an output is not finite; of several labels 0 or
        1 each) and `probabilities`, or `value`; and the metrics of rows with labels, None without
        any. Of fewer rows, where `stops` said so.
    """
    measured = None if coded.labels is None else _Measured(model, coded.labels)
    parts: list[Arrays] = []
    with model.settled():
        for start in range(0, len(coded.matrix), model.rows_at_once):
            if stops():
                break
            part = slice(start, start + model.rows_at_once)
            outputs = model.outputs(coded.matrix[part])
            if coded.places is not None:
                places = torch.from_numpy(coded.places[part]).to(outputs.device)
                outputs = outputs[torch.arange(len(places), device=outputs.device), places]
            parts.append(_shown(model, outputs))
            if measured is not None:
                measured.add(outputs, start)
        metrics = None if measured is None else measured.metrics()
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, metrics


def not_finite(arrays: Arrays, precision: str) -> list[Json]:
    """Return a warning that says for which rows nothing finite came out; none where all are."""
    count = len(next(iter(arrays.values())))
    bad = np.zeros(count, dtype=np.bool_)
    for name, each in arrays.items():  # a class is -1 where there is none
        wrong = each < 0 if name == "class" else ~np.isfinite(each)
        bad |= wrong.reshape(count, -1).any(axis=1)
    rows = np.flatnonzero(bad)
    if not len(rows):
        return []
    more = f" (and those of {len(rows) - 1:,} more rows)" if len(rows) > 1 else ""
    other = "" if precision == "float64" else ', or a job in the precision "float64"'
    message = (
        f"data[{rows[0]}]: the model's outputs{more} are not finite in {precision}: its weights are"
        f" not, or grow with the row beyond what that holds; take another checkpoint, such as"
        f' "best", smaller numbers{other}'
    )
    return [{"param": f"data[{rows[0]}]", "code": "not_finite", "message": message}]


def _shown(model: TrainedModel, outputs: Tensor) -> Arrays:
    """Return outputs as predictions: by the largest one, the lower class of equal ones."""
    found = outputs.double().cpu()
    match model.facts.targets:
        case "values":
            return {"value": model.in_units(outputs).double().cpu().numpy()}
        case "labels":
            return {
                "class": (found > 0).to(torch.int64).numpy(),
                "probabilities": torch.sigmoid(found).numpy(),
            }
        case "two_classes":
            finite = found.isfinite()[:, 0]
            ids = torch.where(finite, (found[:, 0] > 0).to(torch.int64), -1)
            of_second = torch.sigmoid(found)
            both = torch.cat([torch.sigmoid(-found), of_second], dim=1)
            return {"class": ids.numpy(), "probabilities": both.numpy()}
        case "classes":
            ids = torch.where(found.isfinite().all(1), found.argmax(1), -1)
            shown: Arrays = {"class": ids.numpy()}
            if not isinstance(model.facts.loss, MultiMargin):  # whose outputs are no logits
                shown["probabilities"] = torch.softmax(found, dim=1).numpy()
            return shown


class _Measured:
    """Metrics of rows with labels; those without count for nothing."""

    def __init__(self, model: TrainedModel, labels: NDArray[Any]) -> None:
        facts = model.facts
        self._model = model
        self._labels = labels
        self._form = target_form(facts.loss)
        self._ignored = ignored_class(facts.loss)
        chosen = chosen_of(facts.metrics, values=self._form == "values")
        if facts.context is not None:  # whose table would have a row for each token
            chosen = tuple(each for each in chosen if each != CONFUSION)
        elif facts.targets in {"classes", "two_classes"} and CONFUSION not in chosen:
            chosen = (*chosen, CONFUSION)
        self._has_table = CONFUSION in chosen
        self._measurement = Measurement(chosen, self._form, self._ignored)
        self._loss = self._loss_function()
        if labels.ndim == 1:
            self._known = labels >= 0
        else:
            self._known = ~np.isnan(labels).any(axis=1)
        self._all = self._targets(labels[self._known])
        self._total = 0.0

    def _loss_function(self) -> LossFunction | None:
        """Return the loss; None where its weights are those of the training rows."""
        loss = self._model.facts.loss
        if isinstance(loss, CrossEntropy) and loss.class_weights == "balanced":
            return None
        return build_loss(loss)

    def _targets(self, labels: NDArray[Any]) -> Tensor:
        """Return labels as the loss takes them."""
        model = self._model
        if self._form == "class_ids":
            return torch.from_numpy(labels).to(model.device)
        values = labels.reshape(len(labels), model.facts.num_outputs).astype(np.float64)
        if model.target_mean is not None and model.target_scale is not None:
            values = standardized(values, model.target_mean, model.target_scale)
        return torch.from_numpy(values).to(model.device, model.dtype)

    def add(self, outputs: Tensor, start: int) -> None:
        """Take in the outputs of the rows from `start` on."""
        known = self._known[start : start + len(outputs)]
        if not known.any():
            return
        rows = torch.from_numpy(np.flatnonzero(known)).to(outputs.device)
        labels = self._labels[start : start + len(outputs)][known]
        outputs, targets = outputs[rows], self._targets(labels)
        in_units = self._model.in_units
        self._measurement.add(in_units(outputs).unsqueeze(0), in_units(targets))
        if self._loss is not None:
            share = share_of(self._loss, targets, self._all, math.nan)
            self._total += self._loss(outputs, targets).item() * share

    def metrics(self) -> Json | None:
        """Return the figures by name, and the confusion matrix of classes; None where no row has a
        label."""
        if not self._known.any():
            return None
        found: Json = {"num_rows": int(self._known.sum())}
        if self._loss is not None:
            found["loss"] = self._total
        values = self._measurement.values()
        found |= {name: float(column[0]) for name, column in values.items()}
        if self._has_table:
            found["confusion_matrix"] = self._measurement.confusion()[0]
        return found


def read_rows(store: ArtifactStore, use_id: str, rows: Json, model: TrainedModel) -> Coded:
    """Read the rows of a use: as they were posted, or from a data set; of a series its windows, of
    texts their tokens.

    Raises:
        JobFailure: they are gone, or a row is of a class that the model does not know.
    """
    try:
        if rows["kind"] == "posted":
            with np.load(io.BytesIO(store.job(use_id).read(INPUT_NAME)), allow_pickle=False) as npz:
                arrays = dict(npz)
            if "texts" in arrays:
                return text_rows(model, unpacked_texts(arrays), arrays.get("labels"))
            coded = Coded(arrays["matrix"], arrays.get("labels"), {})
        else:
            stored = _open(store, rows["file"])
            if model.facts.context is not None:
                return text_rows(model, [stored.text().decode()], None)
            is_last = model.facts.window is not None and rows["windows"] == "last"
            coded, start = _stored_rows(stored, rows["file"], model, is_last=is_last)
            check_range(coded, model.coder, start)
    except NotFoundError as error:
        message = "The rows are not there any more: send them again."
        raise JobFailure("data_unavailable", message) from error
    except InvalidInputError as error:
        raise JobFailure("data_unavailable", str(error), error.errors[0].param) from error
    facts = model.facts
    if facts.window is None or facts.horizon is None:
        return coded
    return windows_of(coded, facts.window, facts.horizon, facts.num_outputs, rows["windows"])


def text_rows(model: TrainedModel, texts: list[str], labels: NDArray[Any] | None) -> Coded:
    """Return the last tokens of texts, as many as the model sees; shorter ones stand at the front
    of their context, as the first tokens of one in training."""
    context = model.facts.context
    assert context is not None
    about = json.loads(model.metadata["tokenizer"])
    ids = [each[-context:] for each in encoded(texts, about)]
    matrix = np.zeros((len(ids), context))
    for row, each in zip(matrix, ids, strict=True):
        row[: len(each)] = each
    return Coded(matrix, labels, {}, np.array([len(each) - 1 for each in ids]))


def _open(store: ArtifactStore, file: str) -> StoredFile:
    """Open a data set's content. Raises `NotFoundError`."""
    artifacts = store.job(file)
    path = artifacts.local_path(STORED_NAME)
    if path is None:
        return StoredFile.from_ranges(
            lambda start, length: artifacts.read_range(STORED_NAME, start, length)
        )
    if artifacts.exists(STORED_NAME):
        return StoredFile.open(path)
    raise NotFoundError(STORED_NAME)


def _stored_rows(
    stored: StoredFile, file: str, model: TrainedModel, *, is_last: bool
) -> tuple[Coded, int]:
    """Code the columns of a data set, and return the first row's place in it, too; `is_last`: of
    the rows of its last window alone."""
    contents, coder = stored.contents, model.coder
    facts = UploadFacts.of("ready", contents.kind, file, contents.to_json())
    start = max(0, facts.num_rows - (model.facts.window or 0)) if is_last else 0

    def read(name: str) -> NDArray[Any]:
        values = stored.column(name, start)
        is_image = values.ndim == 4
        if coder.image_size is None or not is_image or values.shape[2:] == coder.image_size:
            return values
        return scaled_images(values, coder.image_size)

    return code_columns(coder, read, facts), start


def check_range(coded: Coded, coder: Coder, start: int) -> None:
    """Check that the model's precision holds all numbers of a data set's rows, of which the first
    is the row `start`.

    Raises:
        InvalidInputError: with row, column and value of each that it does not.
    """
    if (ranges := coder.ranges) is None:
        return
    faults = [
        FieldError(
            f"dataset.{name}", "not_finite",
            f"dataset: {shown(name)} in row {start + row:,} (counted from 0):"
            f" {ranges.message(value, 'feature')}",
        )
        for row, name, value in coder.beyond(coded.matrix)
    ]  # fmt: skip
    if coded.labels is not None:
        param = f"dataset.{', '.join(coder.targets)}"
        faults += [
            FieldError(
                param, "not_finite",
                f"dataset: {', '.join(map(shown, coder.targets))} in row {start + row:,} (counted"
                f" from 0): {ranges.message(value, 'target')}, or leave the column out to predict"
                " without metrics",
            )
            for row, value in coder.targets_beyond(coded.labels)
        ]  # fmt: skip
    if faults:
        raise InvalidInputError(faults)


def write_predictions(store: ArtifactStore, use_id: str, arrays: Mapping[str, Any]) -> int:
    """Write predictions to where replies read them; returns the bytes that they take."""
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    return store.job(use_id).write(RESULT_NAME, [buffer.getvalue()]).size_bytes
