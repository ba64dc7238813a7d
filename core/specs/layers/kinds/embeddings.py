"""Learned vectors: for categories, tokens and times."""

from typing import Annotated, Literal

from pydantic import Field

from core.specs.base import PositiveInt
from core.specs.layers.kinds.base import NamedLayer, Pad, Window


class EmbedCategories(NamedLayer):
    """A learned vector for each category: (features,) to the features that are none, then each
    category's vector. The columns of a category are 0 and 1 for one of its values each (one-hot);
    its vector is that value's row of the weight."""

    kind: Literal["embed_categories"] = "embed_categories"
    places: Annotated[
        tuple[Annotated[tuple[Pad, Window], Field(fail_fast=True)], ...],
        Field(min_length=1, max_length=1000),
    ]
    """First column of each category, and how many columns it has; in order."""
    embedding_dim: PositiveInt
    """Numbers of a vector."""


class Embedding(NamedLayer):
    """A learned vector for each token of a vocabulary: ids (time,) to (time, embedding_dim). The
    first layer of a model of language."""

    kind: Literal["embedding"] = "embedding"
    num_embeddings: PositiveInt | None = None
    """Left out: as many as the tokenizer has tokens."""
    embedding_dim: PositiveInt
    """Numbers of each vector."""


class Positions(NamedLayer):
    """A learned vector for each time of (time, features), which is added to it."""

    kind: Literal["positions"] = "positions"
