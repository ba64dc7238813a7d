"""Small models as lists of layers, of rows of four features and three classes."""

from typing import Any, Final

Json = dict[str, Any]

RELU: Final[Json] = {"kind": "relu"}
FLAT: Final[Json] = {"kind": "flatten"}
END: Final[Json] = {"kind": "linear"}
IMAGE: Final[Json] = {"kind": "unflatten", "unflattened_size": [1, 2, 2]}
LINE: Final[Json] = {"kind": "unflatten", "unflattened_size": [1, 4]}
TIMES: Final[Json] = {"kind": "unflatten", "unflattened_size": [4, 1]}
LAST: Final[Json] = {"kind": "select"}


def wide(width: int) -> Json:
    return {"kind": "linear", "out_features": width}


def conv(channels: int, size: int = 2, **options: Any) -> Json:
    return {"kind": "conv2d", "out_channels": channels, "kernel_size": size, **options}


def block(width: int, heads: int, **options: Any) -> list[Json]:
    attention = {"kind": "multihead_attention", "num_heads": heads, **options}
    inner = [{"kind": "layer_norm"}, wide(2 * width), {"kind": "gelu"}, wide(width)]
    return [
        {"kind": "residual", "layers": [{"kind": "layer_norm"}, attention]},
        {"kind": "residual", "layers": inner},
    ]


FUSED: Final[dict[str, list[Json]]] = {
    "conv": [IMAGE, conv(5, padding=1), RELU, {"kind": "max_pool2d", "kernel_size": 2}, FLAT, END],
    "conv, batch norm": [
        IMAGE, conv(5, 3, padding="same"), {"kind": "batch_norm"}, RELU, conv(3),
        {"kind": "batch_norm", "momentum": 0.3}, RELU, FLAT, END,
    ],
    "conv, group norm": [
        IMAGE, conv(4, padding=1), {"kind": "group_norm", "num_groups": 4}, RELU,
        {"kind": "adaptive_avg_pool2d", "output_size": 1}, FLAT, END,
    ],
    "transposed": [
        IMAGE, {"kind": "conv_transpose2d", "out_channels": 3, "kernel_size": 2, "stride": 2},
        RELU, {"kind": "avg_pool2d", "kernel_size": 2}, FLAT, END,
    ],
    "a line": [
        LINE, {"kind": "conv1d", "out_channels": 3, "kernel_size": 2}, RELU,
        {"kind": "upsample", "scale_factor": 2}, {"kind": "max_pool1d", "kernel_size": 2}, FLAT,
        END,
    ],
    "rnn": [TIMES, {"kind": "rnn", "hidden_size": 5, "bidirectional": True, "num_layers": 2}, LAST,
            END],
    "gru": [TIMES, {"kind": "gru", "hidden_size": 5}, LAST, END],
    "transformer": [TIMES, wide(6), {"kind": "positions"}, *block(6, 2), {"kind": "mean"}, END],
    "causal, rotary": [TIMES, wide(4), *block(4, 2, causal=True, rotary=True), LAST, END],
    "residual": [
        wide(6), {"kind": "residual", "layers": [wide(6), {"kind": "rms_norm"}, RELU]}, END,
    ],
    "shifts that norms take away": [
        wide(6), {"kind": "layer_norm"}, wide(5), {"kind": "batch_norm"}, wide(4), wide(4),
        {"kind": "batch_norm"}, {"kind": "identity"}, {"kind": "batch_norm"}, RELU, END,
    ],
    "shifts of channels": [
        IMAGE, conv(4, padding=1), conv(4), {"kind": "avg_pool2d", "kernel_size": 1},
        {"kind": "batch_norm"}, FLAT, wide(5), {"kind": "batch_norm"}, RELU, END,
    ],
    "branches": [
        {"kind": "branches", "branches": [[wide(3), RELU], [wide(4), {"kind": "tanh"}]]}, END,
    ],
    "skip": [
        {**wide(5), "name": "first"}, RELU, wide(5), {"kind": "skip", "source": "first"},
        {"kind": "skip", "source": "first", "combine": "cat"}, END,
    ],
    "batch norm in front": [{"kind": "batch_norm"}, wide(6), {"kind": "batch_norm"}, RELU, END],
    "dropout": [
        {"kind": "dropout", "p": 0.2}, wide(6), RELU,
        {"kind": "residual", "layers": [wide(6), {"kind": "dropout", "p": 0.4}]}, END,
    ],
}  # fmt: skip
"""Those whose runs train in stacks."""

ALONE: Final[dict[str, list[Json]]] = {
    "lstm": [TIMES, {"kind": "lstm", "hidden_size": 5}, LAST, END],
    "recurrent dropout": [
        TIMES, {"kind": "gru", "hidden_size": 5, "num_layers": 2, "dropout": 0.3}, LAST, END,
    ],
    "attention dropout": [TIMES, wide(4), *block(4, 2, dropout=0.3), LAST, END],
}  # fmt: skip
"""Those whose runs train one by one."""


def model(layers: list[Json]) -> Json:
    return {"kind": "layers", "layers": layers}
