"""The body of `POST /v1/studies`: a job's spec, what is varied in it, and by which strategy."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Discriminator, Field, Tag

from core.specs.base import MAX_INT, WHOLE, Positive, PositiveInt, Seed, Spec
from core.specs.job import MAX_STEPS, STUDY_PATTERN, Labels, Name, Note
from core.specs.webhooks.fields import StudyWebhook

MAX_POINTS: Final = 1_000_000
MAX_PATH: Final = 200
MAX_CANDIDATES: Final = 10_000
MAX_GIVEN: Final = 1_000
"""Configurations that one study is given one by one, or one call enqueues."""

Count = Annotated[int, Field(ge=2, le=MAX_POINTS), WHOLE]
WholeNumber = Annotated[int, Field(ge=-MAX_INT, le=MAX_INT), WHOLE]


Conditions = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=MAX_PATH)],
        Annotated[tuple[Any, ...], Field(min_length=1, max_length=1000)],
    ],
    Field(min_length=1, max_length=100),
]


When = Annotated[Conditions | None, Field(exclude_if=lambda value: value is None)]


class SweepValues(Spec):
    """Any JSON values, in the given order."""

    values: Annotated[tuple[Any, ...], Field(min_length=1, max_length=MAX_POINTS)]
    when: When = None


class SweepLog(Spec):
    """Numbers from the first to the second, both included, in equal ratios."""

    log: tuple[Positive, Positive]
    count: Count | None = None
    """Number of points. If left out (not for `grid`): any number between the two."""
    when: When = None


class SweepLinear(Spec):
    """Numbers from the first to the second, both included, in equal distances."""

    linear: tuple[float, float]
    count: Count | None = None
    """Number of points. If left out (not for `grid`): any number between the two."""
    when: When = None


class SweepIntegers(Spec):
    """All whole numbers from the first to the second, both included."""

    integers: tuple[WholeNumber, WholeNumber]
    when: When = None


SWEEPS: Final = ("values", "log", "linear", "integers")


def _sweep_tag(value: object) -> str | None:
    """Tag a sweep's form by the name of its main field."""
    if isinstance(value, Mapping):
        return next((f"~{name}" for name in SWEEPS if name in value), None)
    return next((f"~{name}" for name in SWEEPS if hasattr(value, name)), None)


Sweep = Annotated[
    Annotated[SweepValues, Tag("~values")]
    | Annotated[SweepLog, Tag("~log")]
    | Annotated[SweepLinear, Tag("~linear")]
    | Annotated[SweepIntegers, Tag("~integers")],
    Discriminator(_sweep_tag),
]


class SuccessiveHalving(Spec):
    """Stop the worse configurations at each rung (`min_steps`, then `factor` times as many steps
    each time): the best 1/`factor` of those that reach it go on, the others stop (Jamieson and
    Talwalkar 2016; Li et al. 2018).

    They are ranked by the metric at the rung, the mean over the repeats; what is not finite there,
    or has diverged, comes last.
    """

    kind: Literal["successive_halving"]
    factor: Annotated[int, Field(ge=2, le=100), WHOLE] = 3
    min_steps: Annotated[int, Field(gt=0, le=MAX_STEPS), WHOLE] | None = None
    """Updates to the first rung. Default: the longest run's over the largest power of `factor` that
    is at most 8 (3: a third; and at most the number of configurations), an eighth for a larger
    factor; on a multiple of `record.eval_every` where the metric is the best of the evaluations."""


class GridStrategy(Spec):
    """Every combination, the last path of `sweep` running fastest."""

    kind: Literal["grid"] = "grid"
    stopper: SuccessiveHalving | None = None


class RandomStrategy(Spec):
    """Independent draws from the sweep; configuration i depends on `seed` and i alone."""

    kind: Literal["random"]
    num_runs: PositiveInt
    """Configurations; each runs `repeats` times."""
    seed: Seed = 0
    stopper: SuccessiveHalving | None = None


class TpeStrategy(Spec):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), by Optuna's TPESampler."""

    kind: Literal["tpe"]
    num_runs: PositiveInt
    """Configurations; each runs `repeats` times."""
    seed: Seed = 0
    batch_size: PositiveInt | None = None
    """Configurations that are chosen at a time and train together. Default: a sixtieth of
    `num_runs`, at least 4 (with a stopper `factor`²), at most as many as give 32 runs. Larger ones
    train faster and choose worse."""
    num_startup: Annotated[int, Field(ge=0, le=MAX_POINTS), WHOLE] = 10
    """Configurations that are drawn at random before the estimator chooses."""
    num_candidates: Annotated[int, Field(gt=0, le=MAX_CANDIDATES), WHOLE] = 24
    """Draws from the density of the good configurations, of which the one with the largest ratio of
    the densities (good to bad) is taken."""
    multivariate: bool = True
    """Densities of all parameters together; false: one for each."""
    group: bool = False
    """Densities of the parameters that occur together, where conditions (`when`) leave some out of
    some configurations; false: of those that all have, and each other one by itself."""
    constant_liar: bool = True
    """Configurations of the batch that are chosen already count as bad ones, so that a batch lies
    apart; false: as if they were not there."""
    stopper: SuccessiveHalving | None = None
    """Early stopping within each batch."""


Strategy = Annotated[GridStrategy | RandomStrategy | TpeStrategy, Field(discriminator="kind")]


class Metric(Spec):
    """The quantity by which configurations are compared."""

    name: Annotated[str, Field(max_length=80)] | None = None
    """`loss`, or `eval.` and a metric, which is evaluated then (`eval.f1`; with options, where it
    stands in `record.metrics`). Default: `eval.loss` where there is evaluation data, else `loss`.
    """
    at: Literal["final", "best"] = "final"
    goal: Literal["min", "max"] | None = None
    """Default: for a loss, where the runs take it (`max` under `optimizer.maximize`; required where
    some do and others do not); for another metric its own (`GET /v1/catalog/metrics`). A goal that
    is given ranks the runs, whatever they do: their outcomes, best weights and stop rules go by
    their own direction."""
    target: float | None = None
    """Steps and seconds to reach it are reported."""


Params = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=MAX_PATH)], Any], Field(max_length=100)
]
"""A configuration: a value for each swept path that is varied in it."""


class StudySpec(Spec):
    base: dict[str, Any]
    """A job's spec; it may lack what every configuration takes from the sweep."""
    sweep: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=MAX_PATH)], Sweep],
        Field(max_length=100),
    ] = {}  # noqa: RUF012 (pydantic copies it)
    """Values by dotted path from the root of the job's spec; digits are places in a list. A path
    applies before those that it is a prefix of. Without any, all runs are repeats of one
    configuration. One with `when` comes after those that it depends on."""
    strategy: Strategy = GridStrategy()
    repeats: PositiveInt = 1
    """Runs of each configuration, with the seeds `seed`, `seed` + 1, …"""
    metric: Metric = Metric()
    configurations: Annotated[tuple[Params, ...], Field(max_length=MAX_GIVEN)] = ()
    """Configurations that are trained besides those that the strategy chooses, and before them:
    for each a value by swept path, within the sweep. Those that were enqueued stand here too."""
    warm_start_from: Annotated[str, Field(pattern=STUDY_PATTERN)] | None = None
    """A study that has ended, with the same metric. Its configurations that fit this sweep inform
    `tpe`, and stand, marked `inherited`, in comparison and importance."""
    labels: Labels = {}  # noqa: RUF012 (pydantic copies it)
    webhook: StudyWebhook | None = None


class PostedStudy(StudySpec):
    """A study's spec as it is posted: what stands beside it is the study's, and no part of the
    spec."""

    name: Name | None = None
    """The name to show for it; one line."""
    note: Note | None = None
    """Words about it."""


class StudyExtension(Spec):
    """The body of `POST /v1/studies/{id}/extend`."""

    num_runs: PositiveInt
    """Configurations that the strategy chooses in all, those that it has chosen already among
    them: the new `strategy.num_runs`."""


class EnqueuedConfigurations(Spec):
    """The body of `POST /v1/studies/{id}/enqueue`."""

    configurations: Annotated[tuple[Params, ...], Field(min_length=1, max_length=MAX_GIVEN)]
    """Configurations to be trained next: for each a value by swept path, within the sweep. One that
    the study has already is not trained again."""
