"""Choice of the layers that have a bias, where a spec leaves it open."""

from collections.abc import Sequence
from typing import Final

from core.specs.layers import kinds as k

CONVOLUTIONS: Final = (k.Conv1d, k.Conv2d, k.ConvTranspose1d, k.ConvTranspose2d)
_BIASED: Final = (k.LinearLayer, *CONVOLUTIONS, k.BatchNormLayer, k.LayerNormLayer)


def with_biases(layers: Sequence[k.Layer]) -> tuple[k.Layer, ...]:
    """Settle each bias: none where a norm of the batch behind it takes it away again."""
    found: list[k.Layer] = []
    for number, layer in enumerate(layers):
        match layer:
            case k.Residual():
                inner = {
                    "layers": with_biases(layer.layers),
                    "shortcut": with_biases(layer.shortcut),
                }
                found.append(layer.model_copy(update=inner))
            case k.Branches():
                branches = tuple(map(with_biases, layer.branches))
                found.append(layer.model_copy(update={"branches": branches}))
            case _ if isinstance(layer, _BIASED) and layer.bias is None:
                bias = not _is_taken_away(layer, layers[number + 1 :])
                found.append(layer.model_copy(update={"bias": bias}))
            case _:
                found.append(layer)
    return tuple(found)


def _is_taken_away(layer: k.Layer, behind: Sequence[k.Layer]) -> bool:
    """Tell whether a norm takes away again what the layer's bias adds: a constant, in each channel
    or unit, that only linear maps lead to the norm."""
    channels = isinstance(layer, CONVOLUTIONS)
    for following in behind:
        match following:
            case k.Identity():
                pass
            case k.BatchNormLayer():
                return True
            case k.GroupNorm(num_groups=groups):
                return getattr(layer, "out_channels", None) == groups
            case k.Flatten():
                channels = False
            case k.LinearLayer() if not channels:
                pass
            case k.Conv1d(padding=0) | k.Conv2d(padding=(0, 0)):
                channels, layer = True, following
            case k.AvgPool1d(padding=0) | k.AvgPool2d(padding=(0, 0)):
                pass
            case k.AdaptiveAvgPool1d() | k.AdaptiveAvgPool2d() | k.Upsample():
                pass
            case _:
                return False
    return False
