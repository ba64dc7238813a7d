"""Splits by the tail or by a column that leave one class for training: refused in the request where
its rows tell, and at the start of the job elsewhere."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import InvalidInputError, JobFailure
from core.specs.job import DataProblem, JobSpec
from core.specs.parsing.job import parse_job
from core.specs.validation.limits import Limits
from core.train.data.build import build_data
from core.train.data.uploaded import uploads_from
from tests.core.train.data.uploads import stored

Json = dict[str, Any]
IN_ORDER = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
IN_TURN = [0, 1] * 5


def inline(targets: list[Any], loss: Json | None = None, **split: Any) -> bytes:
    data = {"kind": "inline", "features": [[float(i)] for i in range(len(targets))],
            "targets": targets, "split": split}  # fmt: skip
    return posted(data, loss)


def posted(data: Json, loss: Json | None = None) -> bytes:
    problem = {"kind": "supervised", "model": {"kind": "linear"}, "data": data}
    if loss is not None:
        problem["loss"] = loss
    return json.dumps({"problem": problem, "optimizer": {"kind": "adam"}}).encode()


def build(spec: JobSpec) -> None:
    assert isinstance(spec.problem, DataProblem)
    build_data(spec.problem, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("loss", ["cross_entropy", "binary_cross_entropy", "multi_margin"])
@pytest.mark.parametrize("share", [{"eval": 0.5}, {"eval": 0.2, "test": 0.4}])
def test_rows_in_the_request_are_refused(loss: str, share: Json) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_job(inline(IN_ORDER, {"kind": loss}, kind="tail", **share), Limits())
    (error,) = caught.value.errors
    assert (error.param, error.code) == ("problem.data.split", "one_class")
    assert all(each in error.message for each in ("class 0 alone", "order", "fraction"))
    build(parse_job(inline(IN_TURN, {"kind": loss}, kind="tail", **share), Limits()))
    build(parse_job(inline(IN_ORDER, {"kind": "mse"}, kind="tail", **share), Limits()))


@pytest.mark.parametrize("ignored", [-100, 2])
def test_a_class_that_is_ignored_counts_for_nothing(ignored: int) -> None:
    targets = [0, 0, ignored, 0, 0, 1, 1, 1, 1, 2]
    loss = {"kind": "cross_entropy", "ignore_index": ignored}
    with pytest.raises(InvalidInputError, match="class 0 alone"):
        parse_job(inline(targets, loss, kind="tail", eval=0.5), Limits())


def test_a_builtin_data_set_ends_the_job_in_words() -> None:
    data = {"kind": "builtin", "name": "iris", "split": {"kind": "tail", "eval": 0.7}}
    spec = parse_job(posted(data), Limits())
    with pytest.raises(
        JobFailure, match=r"by tail leaves class 'setosa' alone .*fraction"
    ) as caught:
        build(spec)
    assert caught.value.failure_code == "data_unavailable"
    assert caught.value.param == "problem.data.split"


@pytest.mark.parametrize(
    "split", [{"kind": "tail", "eval": 0.6}, {"kind": "column", "name": "fold", "eval": ["b"]}],
    ids=["tail", "column"],
)  # fmt: skip
@pytest.mark.parametrize("missing", ["refuse", "drop"])
def test_a_file_ends_the_job_in_words(split: Json, missing: str, tmp_path: Path) -> None:
    lines = [f"{i}.5,{'ab'[i > 4]},{'no' if i <= 4 else 'yes'}" for i in range(10)]
    if missing == "drop":  # the one row for training that is of another class
        lines[1] = ",a,yes"
    file = stored(tmp_path, ("\n".join(["x,fold,y", *lines]) + "\n").encode())
    data = {"target": "y", "features": ["x"], "missing": missing, "split": split}
    with uploads_from(file.store), pytest.raises(JobFailure, match="class 'no' alone") as caught:
        build(file.spec(data))
    assert caught.value.param == "problem.data.split"
