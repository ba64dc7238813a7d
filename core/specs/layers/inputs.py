"""A row of data as a model gets it: how many numbers, and what shape they have."""

from typing import NamedTuple

from core.specs.layers.effects.base import Shape, ShapeError, shown


class Place(NamedTuple):
    """A category among a row's features: so many columns from `start` on, of which one is 1."""

    start: int
    width: int


class Inputs(NamedTuple):
    """A row of features.

    Attributes:
        num_features: numbers a row.
        sample_shape: the shape that they have, where the data say one: (1, 8, 8) for an image of
            one channel.
        categories: the features that are a category each.
        window: whether it is a window in time, (length, channels), whose future is to be told.
        tokens: whether the numbers are ids of tokens; each then has outputs of its own, one a token
            of the vocabulary.
    """

    num_features: int
    sample_shape: Shape | None = None
    categories: tuple[Place, ...] = ()
    window: bool = False
    tokens: bool = False

    @property
    def by_channels(self) -> Shape:
        """The row as (channels, length) or (channels, height, width): a row without a shape is a
        line of one channel, a window has a channel for each column of its series.

        Raises:
            ShapeError: its shape has more axes.
        """
        shape = self.sample_shape or (self.num_features,)
        if self.window:
            return shape[::-1]
        if len(shape) > 3:
            raise ShapeError(
                f"takes rows of the shape (length,), (channels, length) or (channels, height,"
                f" width), and the data have {shown(shape)}"
            )
        return shape if len(shape) > 1 else (1, *shape)
