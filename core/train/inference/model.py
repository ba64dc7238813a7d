"""A trained model from its file of weights: rows in, outputs out, in evaluation mode."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from core.artifacts.base import ArtifactStore
from core.artifacts.weights import WeightsPlace
from core.errors import ArtifactError, JobFailure, NotFoundError
from core.specs.base import Json
from core.specs.formulas.precisions import standardized
from core.specs.layers.expand import expand
from core.specs.sizes.cost import num_threads
from core.train.determinism import set_deterministic
from core.train.devices import exact_kernels
from core.train.models.layered import LayeredModel
from core.train.tensors.tensor_file import parse
from core.uses.coding import Coder
from core.uses.model import ModelFacts
from core.uses.posted import coder_of

Float = NDArray[np.float64]
ROWS: Final = 8192
"""Rows that go through the model at once: as many as of an evaluation in training, so that its
figures come out again to the bit."""
TOKEN_OUTPUTS: Final = 1 << 24
"""Outputs of tokens at once, at most: each place of a context has one for each token."""
_DTYPES: Final = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.float32,
}


@dataclass(frozen=True)
class TrainedModel:
    """A model with its weights, and what turns rows as they came into what it was trained on.

    Attributes:
        module: on its device, in evaluation mode.
        coder: of rows that are no numbers yet.
        mean, scale: of features, float64, one a number of a row; None: they are taken as they are.
        target_mean, target_scale: the same of outputs.
    """

    facts: ModelFacts
    module: LayeredModel
    metadata: Mapping[str, str]
    coder: Coder
    device: torch.device
    mean: Float | None
    scale: Float | None
    target_mean: Float | None
    target_scale: Float | None

    @classmethod
    def load(
        cls, store: ArtifactStore, place: WeightsPlace, facts: ModelFacts, device: torch.device
    ) -> Self:
        """Read the weights, and build the model that they are of.

        Raises:
            JobFailure: they are gone, or are no weights of this model.
        """
        try:
            tensors, metadata = parse(b"".join(place.open(store).chunks()))
            module = LayeredModel(
                expand(facts.model, facts.inputs, facts.num_outputs), _DTYPES[facts.precision]
            )
            module.load_state_dict(tensors)
        except NotFoundError as error:
            message = f"The weights of the checkpoint {place.checkpoint} are not there any more."
            raise JobFailure("data_unavailable", message) from error
        except (ArtifactError, RuntimeError) as error:
            message = f"The file of the checkpoint {place.checkpoint} cannot be read as weights."
            raise JobFailure("data_unavailable", message) from error
        module.eval()
        features, targets = (
            json.loads(metadata.get(name, "{}"))
            for name in ("standardization", "target_standardization")
        )
        return cls(
            facts,
            module.to(device),
            metadata,
            coder_of(metadata, facts),
            device,
            _column(features, "mean"),
            _column(features, "scale"),
            _column(targets, "mean"),
            _column(targets, "scale"),
        )

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return _DTYPES[self.facts.precision]

    @property
    def rows_at_once(self) -> int:
        """Rows that go through the model at once, at most."""
        if self.facts.context is None:
            return ROWS
        return min(ROWS, max(1, TOKEN_OUTPUTS // (self.facts.context * self.facts.num_outputs)))

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Compute with the threads and kernels that the model was trained with."""
        with exact_kernels(), torch.no_grad():
            work = self.module.layers.multiply_adds
            set_deterministic(self.facts.threads or num_threads(work * ROWS))
            yield

    def outputs(self, rows: Float) -> Tensor:
        """Map coded rows to outputs (rows × outputs; of tokens rows × context × tokens), as the
        loss takes them. Inside `settled`."""
        rows = rows.reshape(len(rows), -1)  # of windows × rows × numbers
        if self.mean is not None and self.scale is not None:
            rows = standardized(rows, self.mean, self.scale)
        # In a tensor of torch's own making, as training has them: memory that is not aligned as
        # torch aligns it gives other last bits.
        features = torch.empty(rows.shape, dtype=self.dtype).copy_(torch.from_numpy(rows))
        return self.apply(features.to(self.device))

    def apply(self, features: Tensor) -> Tensor:
        """Map standardized features to outputs."""
        if self.facts.precision != "bfloat16":
            return self.module.forward(features)
        with torch.autocast(self.device.type, torch.bfloat16):
            return self.module.forward(features).float()

    def in_units(self, outputs: Tensor) -> Tensor:
        """Return outputs, or targets that are like them, as the data have them."""
        if self.target_mean is None or self.target_scale is None:
            return outputs
        mean, scale = (
            torch.from_numpy(each).to(outputs.device)
            for each in (self.target_mean, self.target_scale)
        )
        return outputs.double() * scale + mean


def _column(stored: Json, name: str) -> Float | None:
    return np.array(stored[name], dtype=np.float64) if name in stored else None
