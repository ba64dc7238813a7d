"""Rules of rows, posted or generated, and of their targets."""

from typing import Final

from core.specs.data import Inline, Synthetic, Upload
from core.specs.generators import Blobs, Spirals
from core.specs.job import DataProblem, Forecast, Reconstruction
from core.specs.validation.errors import FieldErrorList
from core.specs.validation.limits import Limits

DATA: Final = "problem.data"
MOST_SPREAD: Final = 1e15
"""Squares of such numbers, and sums of them, are finite in float32 too."""


def check_given_targets(problem: DataProblem, faults: FieldErrorList) -> None:
    """Check that a reconstruction has no targets, and inline rows of other problems have."""
    data = problem.data
    if not isinstance(problem, Reconstruction):
        if isinstance(data, Inline) and data.targets is None:
            faults.add(
                f"{DATA}.targets", "missing",
                f"{DATA}.targets is required: one for each row of features; a problem of"
                " reconstruction has none",
            )  # fmt: skip
        return
    given: dict[str, object] = {}
    if isinstance(data, Inline):
        given["targets"] = data.targets
    if isinstance(data, Upload):
        given["target"] = data.target
    for name, value in given.items():
        if value is not None:
            faults.add(
                f"{DATA}.{name}", "no_targets",
                f"{DATA}.{name}: a reconstruction has no targets but the features themselves:"
                f" leave it out{', and name the features' if name == 'target' else ''}",
            )  # fmt: skip
    if data.scale_targets:
        faults.add(
            f"{DATA}.scale_targets", "no_targets",
            f"{DATA}.scale_targets: a reconstruction has no targets but the features themselves:"
            " use standardize",
        )  # fmt: skip


def check_given_features(problem: DataProblem, faults: FieldErrorList) -> None:
    """Check that inline rows have features, or are the targets of a forecast alone."""
    data = problem.data
    if not isinstance(data, Inline) or len(data.features) > 1:
        return
    if not data.features and isinstance(problem, Forecast):
        return
    if "features" not in data.model_fields_set:
        faults.add(
            f"{DATA}.features", "missing",
            f"{DATA}.features is required: a list of numbers for each row (a forecast alone learns"
            " from its targets' past without any)",
        )  # fmt: skip
        return
    faults.add(
        f"{DATA}.features", "too_short",
        f"{DATA}.features must have at least 2 items, a list of numbers for each row;"
        f" {len(data.features)} {'was' if data.features else 'were'} given",
    )  # fmt: skip


def check_inline(data: Inline, faults: FieldErrorList) -> None:
    """Check that there is a row of targets for each of features, where there are any, and all of
    one length."""
    widths = data.counted.feature_widths
    if len(widths) > 1:
        usual = widths.most_common(1)[0][0]
        odd = next(i for i, row in enumerate(data.features) if len(row) != usual)
        faults.add(
            f"{DATA}.features.{odd}", "ragged",
            f"{DATA}.features: row {odd} has {len(data.features[odd])} numbers, most rows have"
            f" {usual}; give every row the same number",
        )  # fmt: skip
    if data.features and data.targets is not None and len(data.targets) != len(data.features):
        faults.add(
            f"{DATA}.targets", "length_mismatch",
            f"{DATA}.targets has {len(data.targets):,} entries for {len(data.features):,} rows of"
            " features; give one a row",
        )  # fmt: skip
    target_widths = data.counted.target_widths
    if len(target_widths) > 1:
        faults.add(
            f"{DATA}.targets", "ragged",
            f"{DATA}.targets: rows have {min(target_widths)} to {max(target_widths)} numbers; give"
            " every row the same number",
        )  # fmt: skip


def check_generator(data: Synthetic, limits: Limits, faults: FieldErrorList) -> None:
    """Check that the drawn rows are not too many, and that their variance is finite."""
    generator = data.generator
    for name, value in generator:
        if isinstance(value, float) and value > MOST_SPREAD:
            faults.add(
                f"{DATA}.generator.{name}", "less_than_equal",
                f"{DATA}.generator.{name} must be at most {MOST_SPREAD:g}, for the data's variance"
                f" to be finite; {value:g} was given",
            )  # fmt: skip
    if generator.num_samples > limits.max_samples:
        faults.add(
            f"{DATA}.generator.num_samples", "less_than_equal",
            f"{DATA}.generator.num_samples must be at most {limits.max_samples:,} on this service;"
            f" {generator.num_samples:,} was given",
        )  # fmt: skip
    if isinstance(generator, (Blobs, Spirals)) and generator.num_classes > generator.num_samples:
        faults.add(
            f"{DATA}.generator.num_classes", "less_than_equal",
            f"{DATA}.generator.num_classes must be at most num_samples ="
            f" {generator.num_samples:,}; {generator.num_classes:,} was given",
        )  # fmt: skip
