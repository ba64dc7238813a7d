"""Rules of the size of numbers: the precision of a job holds its rows, as far as that is known
before they are split."""

from collections.abc import Sequence
from typing import Any, Final

from core.specs.data import Inline, Upload
from core.specs.formulas.precisions import LARGEST_INPUT, LARGEST_TARGET
from core.specs.job import DataProblem, Forecast
from core.specs.sizes.uploads import ColumnFacts, UploadFacts, Uploads
from core.specs.validation.errors import FieldErrorList, shown

_DATA: Final = "problem.data"


def check_ranges(
    problem: DataProblem, precision: str, uploads: Uploads, faults: FieldErrorList
) -> None:
    """Check that the precision holds what is trained on as it came. Rows that are standardized have
    their scale from those for training: these fit, and of others the job's start tells."""
    data = problem.data
    plain_features = not data.standardize
    # The windows of a forecast hold the targets, too.
    windowed = isinstance(problem, Forecast) and plain_features
    plain_targets = not data.scale_targets or windowed
    if isinstance(data, Inline):
        if plain_features:
            _check_given(data.features, "features", data.counted.largest_feature, precision, faults)
        if plain_targets:
            _check_given(
                data.targets or (), "targets", data.counted.largest_target, precision, faults
            )
    elif isinstance(data, Upload) and (facts := uploads.get(data.id)) is not None:
        if plain_features:
            _check_columns(data, facts, "features", precision, faults)
        if plain_targets:
            _check_columns(data, facts, "target", precision, faults)


def _largest(field: str, precision: str) -> float:
    return (LARGEST_INPUT if field == "features" else LARGEST_TARGET)[precision]


def _way_out(field: str, precision: str) -> str:
    option = "standardize" if field == "features" else "scale_targets"
    double = "" if precision == "float64" else ', or use the precision "float64"'
    return f"set {_DATA}.{option} to true, or scale the data{double}"


def _check_given(
    rows: Sequence[Any], field: str, found: float, precision: str, faults: FieldErrorList
) -> None:
    largest = _largest(field, precision)
    if found <= largest:
        return
    places = [
        (number, place)
        for number, row in enumerate(rows)
        for place, value in enumerate(row if isinstance(row, tuple) else (row,))
        if not -largest <= value <= largest
    ]
    number, place = places[0]
    param, value = f"{_DATA}.{field}.{number}", rows[number]
    if isinstance(value, tuple):
        param, value = f"{param}.{place}", value[place]
    more = f" (nor do {len(places) - 1:,} more of them)" if len(places) > 1 else ""
    faults.add(
        param, "not_finite",
        f"{param}: {value:g} does not fit the precision {precision}{more}:"
        f" {_way_out(field, precision)}",
    )  # fmt: skip


def _check_columns(
    data: Upload, facts: UploadFacts, field: str, precision: str, faults: FieldErrorList
) -> None:
    """Refuse a column with a number that is too large, unless its row may be left out."""
    used = _used(data, facts)
    if data.missing == "drop" and any(each.num_missing for each in used):
        return
    for column in used:
        is_target = column.name in data.targets
        if is_target != (field == "target") or column.largest is None:
            continue
        if abs(column.largest) > _largest(field, precision):
            faults.add(
                f"{_DATA}.{field}", "not_finite",
                f"{_DATA}.{field}: column {shown(column.name)} has {column.largest:g} in row"
                f" {column.largest_row:,} (counted from 0), which does not fit the precision"
                f" {precision}: {_way_out(field, precision)}",
            )  # fmt: skip


def _used(data: Upload, facts: UploadFacts) -> list[ColumnFacts]:
    """Return the columns of the features and targets."""
    names = data.features
    if names is None:
        return [
            each
            for each in facts.columns
            if each.name in data.targets or each.name not in data.no_features
        ]
    return [each for each in facts.columns if each.name in {*names, *data.targets}]
