"""Generators of data sets: what each draws, and its options."""

from typing import Annotated, Literal

from pydantic import Field

from core.specs.base import MAX_INT, WHOLE, NonNegative, Positive, PositiveInt, Spec

NumSamples = Annotated[int, Field(ge=2, le=MAX_INT), WHOLE]
NumClasses = Annotated[int, Field(ge=2, le=MAX_INT), WHOLE]


class Blobs(Spec):
    """Isotropic Gaussian clusters; class ids."""

    kind: Literal["blobs"]
    num_samples: NumSamples = 1000
    num_features: PositiveInt = 2
    num_classes: NumClasses = 3
    std: NonNegative = 1.0


class Moons(Spec):
    """Two interleaved half circles; class ids."""

    kind: Literal["moons"]
    num_samples: NumSamples = 1000
    noise: NonNegative = 0.1


class Circles(Spec):
    """A circle inside a circle; class ids."""

    kind: Literal["circles"]
    num_samples: NumSamples = 1000
    noise: NonNegative = 0.05
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5


class Spirals(Spec):
    """Arms of an Archimedean spiral, one a class."""

    kind: Literal["spirals"]
    num_samples: NumSamples = 1000
    num_classes: NumClasses = 3
    noise: NonNegative = 0.1


class LinearRegressionData(Spec):
    """y = Xw + b + noise with Gaussian X, whose covariance has eigenvalues log-spaced from 1 to
    1/condition_number."""

    kind: Literal["linear_regression"]
    num_samples: NumSamples = 1000
    num_features: PositiveInt = 10
    noise: NonNegative = 0.1
    condition_number: Annotated[float, Field(ge=1)] = 1.0


class Friedman1(Spec):
    """10 sin(πx₁x₂) + 20(x₃−½)² + 10x₄ + 5x₅ + noise (Friedman 1991)."""

    kind: Literal["friedman1"]
    num_samples: NumSamples = 1000
    num_features: Annotated[int, Field(ge=5, le=MAX_INT), WHOLE] = 10
    noise: NonNegative = 1.0


class Sinusoid(Spec):
    """y = sin(2π·frequency·x) + noise, x uniform in [−1, 1]; regression."""

    kind: Literal["sinusoid"]
    num_samples: NumSamples = 1000
    frequency: Positive = 1.0
    noise: NonNegative = 0.1


class SineSequence(Spec):
    """Windows of a noisy sine with random phase; the target is the next value; a
    sequence regression."""

    kind: Literal["sine_sequence"]
    num_samples: NumSamples = 1000
    length: PositiveInt = 20
    noise: NonNegative = 0.05


class AddingProblem(Spec):
    """`length` pairs (value, marker); the target is the sum of the two marked values
    (Hochreiter and Schmidhuber 1997); sequence, regression. Features are flattened: 2·length."""

    kind: Literal["adding_problem"]
    num_samples: NumSamples = 1000
    length: Annotated[int, Field(ge=2, le=MAX_INT), WHOLE] = 20


class Parity(Spec):
    """Random bits as ±1; the class is their parity; sequence, classification."""

    kind: Literal["parity"]
    num_samples: NumSamples = 1000
    length: PositiveInt = 8


Generator = Annotated[
    Blobs
    | Moons
    | Circles
    | Spirals
    | LinearRegressionData
    | Friedman1
    | Sinusoid
    | SineSequence
    | AddingProblem
    | Parity,
    Field(discriminator="kind"),
]
