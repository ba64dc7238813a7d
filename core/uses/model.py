"""The facts of a trained model that its use needs beside its weights."""

from typing import Literal, Self

from core.errors import ConflictError
from core.specs.base import Json, NonNegativeInt, PositiveInt, Spec
from core.specs.job import DataProblem, Forecast, JobSpec, LanguageModel, Reconstruction
from core.specs.layers.inputs import Inputs, Place
from core.specs.losses import EvaluationMetric, Loss, Targets
from core.specs.models import Model
from core.specs.sizes.shapes import inputs_of, output_width, problem_shape, targets_of


class ModelFacts(Spec):
    """Facts that a job's spec says of its model.

    Attributes:
        num_inputs, sample_shape, categories: of a row, once it is coded, as of `Inputs`.
        reconstructs: the targets are the rows themselves.
        targets: what the outputs are compared with.
        metrics: None: of a spec that was stored before there was a choice.
        threads: that torch uses; None: as many as follow from the model's size.
        window, horizon: of a forecast: rows that the model sees, and those after them whose targets
            it gives; else None.
        context: of a model of language: tokens that it sees; else None.
    """

    model: Model
    loss: Loss
    precision: Literal["float32", "float64", "bfloat16"]
    num_inputs: PositiveInt
    sample_shape: tuple[PositiveInt, ...] | None = None
    categories: tuple[tuple[NonNegativeInt, PositiveInt], ...] = ()
    num_outputs: PositiveInt
    targets: Targets
    reconstructs: bool = False
    metrics: tuple[EvaluationMetric, ...] | None
    threads: PositiveInt | None
    window: PositiveInt | None = None
    horizon: PositiveInt | None = None
    context: PositiveInt | None = None

    @classmethod
    def of(cls, spec: JobSpec, what: str = "predict with") -> Self:
        """Return the facts of a resolved spec.

        Raises:
            ConflictError: `no_model`, of a function, which has none to `what`.
        """
        problem = spec.problem
        if not isinstance(problem, DataProblem) or problem.loss is None:
            raise ConflictError(
                "no_model",
                f"problem.kind is {problem.kind!r}: it has no model to {what}; its solution stands"
                " in the job's result.",
            )
        shape, inputs = problem_shape(problem), inputs_of(problem)
        return cls(
            model=problem.model,
            loss=problem.loss,
            precision=spec.precision or "float32",
            num_inputs=inputs.num_features,
            sample_shape=inputs.sample_shape,
            categories=tuple((place.start, place.width) for place in inputs.categories),
            reconstructs=isinstance(problem, Reconstruction),
            num_outputs=output_width(problem.loss, shape),
            targets=targets_of(problem.loss, shape),
            metrics=spec.record.metrics,
            threads=spec.threads,
            window=problem.window if isinstance(problem, Forecast) else None,
            horizon=problem.horizon if isinstance(problem, Forecast) else None,
            context=problem.context if isinstance(problem, LanguageModel) else None,
        )

    @property
    def inputs(self) -> Inputs:
        """A row as the model gets it."""
        places = tuple(Place(start, width) for start, width in self.categories)
        return Inputs(
            self.num_inputs,
            self.sample_shape,
            places,
            window=self.window is not None,
            tokens=self.context is not None,
        )

    def to_json(self) -> Json:
        """Return the facts as JSON has them."""
        return self.model_dump(mode="json")
