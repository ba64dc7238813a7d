"""What only some configurations of a study have: where it lies, and how it is swept instead."""

import pytest

from tests.core.specs.studies.specs_of_studies import (
    Json,
    job,
    mistakes,
    parsed,
    said,
    study,
    tpe,
)

KINDS: Json = {"values": ["sgd", "adam"]}


def test_a_field_of_some_kinds_says_how_it_is_varied_where_it_is_one() -> None:
    base = job(optimizer={"kind": "sgd", "lr": 0.1})
    sweep = {"optimizer.kind": KINDS, "optimizer.momentum": {"values": [0.0, 0.9]}}
    when = '"when": {"optimizer.kind": […]}'
    assert f"vary it only where it is one, by {when} (configuration 2" in said(study(base, sweep))
    whole = {"optimizer": {"values": [{"kind": "sgd"}, {"kind": "adam"}]}, **sweep}
    assert when in said(study(base, {path: whole[path] for path in whole if "kind" not in path}))
    conditional = {**sweep["optimizer.momentum"], "when": {"optimizer.kind": ["sgd"]}}
    parsed(study(base, {**sweep, "optimizer.momentum": conditional}))


def test_a_field_of_the_base_that_some_kinds_lack_says_how_it_goes_into_the_sweep() -> None:
    base = job(optimizer={"kind": "sgd", "lr": 0.1, "momentum": 0.9})
    (mistake,) = mistakes(study(base, {"optimizer.kind": KINDS}))
    assert (mistake.param, mistake.code) == ("base.optimizer.momentum", "unknown_field")
    way_out = '{"values": [0.9], "when": {"optimizer.kind": […]}}'
    assert f"take it out of base, and sweep it where it is one: {way_out}" in mistake.message
    parsed(
        study(
            job(optimizer={"lr": 0.1}),
            {
                "optimizer.kind": KINDS,
                "optimizer.momentum": {"values": [0.9], "when": {"optimizer.kind": ["sgd"]}},
            },
        )
    )


def test_where_not_all_configurations_are_looked_at_their_number_is_a_least() -> None:
    sweep = {
        "optimizer.lr": {"linear": [-1.0, 1.0], "count": 1_000},
        "seed": {"values": list(range(10))},
    }
    texts = [each.message for each in mistakes(study(sweep=sweep))]
    assert all("so in at least" in text for text in texts if "so in" in text)
    few = {**sweep, "optimizer.lr": {"values": [-1.0, 1.0]}}
    assert "; so in 9 more)" in said(study(sweep=few))


@pytest.mark.parametrize("path", ["record", "record.metrics"])
def test_a_metric_that_a_sweep_leaves_out_says_where_it_goes(path: str) -> None:
    values = [["f1"], ["accuracy"]]
    given = values if path == "record.metrics" else [{"metrics": each} for each in values]
    body = study(sweep={path: {"values": given}}, metric={"name": "eval.f1"})
    (mistake,) = mistakes(body)
    assert (mistake.param, mistake.code) == ("metric.name", "unknown_metric")
    assert f"(sweep.{path} sets record.metrics: have f1 there in each" in mistake.message
    values[1].append("f1")
    parsed(body)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("*", "*.bias", "the groups before it took all"),
        ("hidden*", "conv*", "took (output.weight, output.bias), or leave the group out"),
    ],
)
def test_a_group_that_is_left_with_nothing_in_some_configurations_says_the_way_out(
    first: str, second: str, words: str
) -> None:
    groups = [{"match": "output.weight"}, {"match": second}]
    if second == "*.bias":
        base = job(optimizer={"kind": "adam", "groups": groups})
        sweep = {"optimizer.groups.0.match": {"values": ["output.weight", first]}}
    else:
        base = job(optimizer={"kind": "adam", "groups": [{"match": first}, groups[1]]})
        sweep = {"optimizer.groups.1.match": {"values": ["output*", second]}}
    (mistake,) = mistakes(study(base, sweep))
    assert mistake.code == "no_match"
    assert words in mistake.message
    assert "(configuration 1: " in mistake.message


def test_what_a_search_comes_to_between_the_ends_is_refused_as_if_it_were_drawn() -> None:
    """Batches of 8 and of 16 rows can be cut into 8; those between them cannot."""
    sweep = {"batch_size": {"integers": [8, 16]}, "accumulate": {"values": [1, 8]}}
    for strategy in (tpe(), {"kind": "random", "num_runs": 10}):
        errors = mistakes(study(sweep=sweep, strategy=strategy))
        assert {(each.param, each.code) for each in errors} == {
            ("sweep.accumulate", "not_divisible")
        }
    assert (
        "(with accumulate = 8, batch_size = "
        in mistakes(study(sweep=sweep, strategy=tpe()))[0].message
    )
    parsed(study(sweep=sweep, strategy=tpe()), stored=True)
