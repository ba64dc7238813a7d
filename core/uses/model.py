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

    @classmethod
    def of(cls, spec: JobSpec, what: str = "predict with") -> Self:
        """Return the facts of a resolved spec.

        Raises:
            ConflictError: `no_model`, of a function, which has none to `what`; `not_predictable`,
                of texts and series, whose rows are stretches that the training cuts.
        """
        problem = spec.problem
        if isinstance(problem, LanguageModel | Forecast):
            raise ConflictError(
                "not_predictable",
                f"problem.kind is {problem.kind!r}: there are no single rows to {what}; take the"
                " weights (safetensors), whose metadata say how texts and series are cut.",
            )
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
        )

    @property
    def inputs(self) -> Inputs:
        """A row as the model gets it."""
        places = tuple(Place(start, width) for start, width in self.categories)
        return Inputs(self.num_inputs, self.sample_shape, places)

    def to_json(self) -> Json:
        """Return the facts as JSON has them."""
        return self.model_dump(mode="json")
