"""The rule of formats: what is refused, and what a stored spec is read with."""

import pytest

from core.errors import ArtifactError, NewerFormatError
from core.formats import (
    OLD_VALUES,
    SHORT_FORMS,
    STORE,
    OldValues,
    as_written,
    check_file,
    check_store,
    is_current,
    stored_job,
    stored_study,
)
from core.specs.base import Json, stored
from core.specs.models import Norm

SGD = {"optimizer": {"kind": "sgd", "lr": 0.1}}
TABLE: OldValues = {
    2: {"optimizer[sgd].fused": False, "accumulate": 1},
    4: {"optimizer[adam].amsgrad": True},
}


@pytest.mark.parametrize("found", [str(number) for number in range(1, STORE + 1)])
def test_a_store_of_this_format_or_an_older_one_is_read(found: str) -> None:
    check_store(found)


def test_a_newer_store_is_refused_with_the_way_out() -> None:
    with pytest.raises(NewerFormatError, match=r"format 999.*newer version.*backup") as caught:
        check_store("999")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("found", ["", "0", "-1", "1.0", " 1", "nan", "1" * 40, "a list", "\x00é"])
def test_what_is_no_format_is_refused(found: str) -> None:
    with pytest.raises(NewerFormatError, match="no number") as caught:
        check_store(found)
    assert "\n" not in str(caught.value)


def test_a_file_without_a_number_is_of_the_first_format() -> None:
    check_file(None, 1, "weights")
    with pytest.raises(ArtifactError, match="weights of format 2; this version reads formats up"):
        check_file("2", 1, "weights")
    with pytest.raises(ArtifactError, match="no number"):
        check_file("new", 1, "weights")


def test_a_missing_field_gets_the_value_of_before() -> None:
    assert stored_job(SGD, 1, TABLE) == {
        "optimizer": {"kind": "sgd", "lr": 0.1, "fused": False},
        "accumulate": 1,
    }
    assert SGD == {"optimizer": {"kind": "sgd", "lr": 0.1}}  # the stored one is left alone


def test_a_spec_as_new_as_the_field_is_left_as_it_is() -> None:
    assert stored_job(SGD, 2, TABLE) is SGD
    assert stored_job(SGD, 5, TABLE) is SGD


def test_a_value_that_is_there_stays() -> None:
    spec = {"optimizer": {"kind": "sgd", "fused": True}, "accumulate": 4}
    assert stored_job(spec, 1, TABLE) == spec


def test_another_kind_has_no_such_field() -> None:
    spec = {"optimizer": {"kind": "adam"}, "accumulate": 1}
    assert stored_job(spec, 3, TABLE) == {
        "optimizer": {"kind": "adam", "amsgrad": True},
        "accumulate": 1,
    }
    assert "fused" not in stored_job(spec, 1, TABLE)["optimizer"]


def test_a_part_that_is_not_there_gets_no_fields() -> None:
    table = {2: {"schedule.period": 3, "optimizer.groups.*.frozen_steps": 0}}
    assert stored_job({"schedule": None}, 1, table) == {"schedule": None}
    assert stored_job({}, 1, table) == {}
    groups = {"optimizer": {"groups": [{"match": "*"}, {"match": "a", "frozen_steps": 2}]}}
    assert stored_job(groups, 1, table)["optimizer"]["groups"] == [
        {"match": "*", "frozen_steps": 0},
        {"match": "a", "frozen_steps": 2},
    ]


def test_a_study_gets_its_own_fields_and_those_of_its_base() -> None:
    table = {2: {"study.pruning": "none", "optimizer[sgd].fused": False}}
    study = {"base": SGD, "sweep": {"optimizer.lr": {"values": [1, 2]}}}
    assert stored_study(study, 1, table) == {
        "base": {"optimizer": {"kind": "sgd", "lr": 0.1, "fused": False}},
        "sweep": {"optimizer.lr": {"values": [1, 2]}},
        "pruning": "none",
    }


def test_a_field_of_a_study_may_be_of_one_kind_only() -> None:
    table = {2: {"study.strategy[tpe].num_startup": 10, "study.strategy[tpe].stopper.eta": 3}}
    study = {"base": SGD, "strategy": {"kind": "tpe", "stopper": {"eta": 4}}}
    tpe = {"kind": "tpe", "stopper": {"eta": 4}, "num_startup": 10}
    assert stored_study(study, 1, table) == {"base": SGD, "strategy": tpe}
    random = {"base": SGD, "strategy": {"kind": "random"}}
    assert stored_study(random, 1, table) == random
    assert stored_study({"base": SGD}, 1, table) == {"base": SGD}
    assert stored_job(SGD, 1, table) == SGD


NORM: OldValues = {2: {"problem.model[mlp].norm[batch].bias_before": True}}


def normed(norm: object) -> dict[str, object]:
    return {"problem": {"model": {"kind": "mlp", "norm": norm}}}


@pytest.mark.parametrize(
    ("norm", "read"),
    [
        ("batch", {"kind": "batch", "bias_before": True}),
        ({"kind": "batch", "eps": 1e-3}, {"kind": "batch", "eps": 1e-3, "bias_before": True}),
        ({"kind": "batch", "bias_before": False}, {"kind": "batch", "bias_before": False}),
        ("layer", "layer"),
        ({"kind": "layer"}, {"kind": "layer"}),
        (None, None),
        ("nonsense", "nonsense"),
    ],
)
def test_a_kind_that_stands_alone_is_read_as_the_object_that_it_is_short_for(
    norm: object, read: object
) -> None:
    before = normed(norm)
    assert stored_job(before, 1, NORM) == normed(read)
    assert stored_study({"base": before}, 1, NORM) == {"base": normed(read)}
    assert as_written(normed(read), 1, NORM) == before
    assert before == normed(norm)


def test_short_forms_are_those_of_the_spec() -> None:
    for name in SHORT_FORMS:
        assert stored({"norm": Norm}[name], "batch") == stored(Norm, {"kind": "batch"})


def test_a_stored_search_goes_on_as_it_began() -> None:
    study: Json = {"base": SGD, "strategy": {"kind": "tpe", "num_runs": 64, "batch_size": 32}}
    assert stored_study(study, 1)["strategy"] == {
        "kind": "tpe", "num_runs": 64, "batch_size": 32, "num_startup": 10, "num_candidates": 24,
        "multivariate": True, "group": False, "constant_liar": True,
    }  # fmt: skip
    assert stored_study(study, STORE) == study
    liar = {"group": False, "constant_liar": True}
    assert stored_study(study, 2)["strategy"] == {**study["strategy"], **liar}


@pytest.mark.parametrize("path", ["optimizer", "optimizer.kind"])
def test_a_base_whose_kind_the_sweep_chooses_is_left_to_its_runs(path: str) -> None:
    study = {"base": SGD, "sweep": {path: {"values": ["adam", "sgd"]}}}
    assert stored_study(study, 1, {2: {"optimizer[sgd].fused": False}})["base"] == SGD


def test_what_was_filled_in_is_taken_out_for_a_fingerprint() -> None:
    assert as_written(stored_job(SGD, 1, TABLE), 1, TABLE) == SGD
    changed = {"optimizer": {"kind": "sgd", "lr": 0.1, "fused": True}}
    assert as_written(changed, 1, TABLE) == changed
    assert is_current(4, TABLE)
    assert not is_current(3, TABLE)


def test_the_table_names_formats_that_there_are() -> None:
    assert all(1 < number <= STORE for number in OLD_VALUES)
