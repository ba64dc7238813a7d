"""The catalogue: everything that a spec can name, with its schema, source and what it supports.

Built from the spec's own models, so that what is listed is what is accepted.
"""

from functools import cache
from typing import Any, Final, Literal, NotRequired, TypedDict, get_args

from core.specs.base import Json, Spec
from core.specs.data import Builtin, Inline, InlineText, Upload
from core.specs.examples import choice, minimal_example
from core.specs.formulas.classic import CLASSICS
from core.specs.losses import METRICS, Targets
from core.specs.models import Activation
from core.specs.optimizers.kinds import NotFused
from core.specs.unions import kind_of, members

# A line on every kind that the catalogue lists, and where it comes from.
TEXTS: Final[dict[str, dict[str, tuple[str, str]]]] = {
    "optimizers": {
        "sgd": ("Gradient descent, with momentum, Nesterov momentum and dampening.",
                "torch.optim.SGD; Sutskever et al. 2013"),
        "adam": ("Adaptive moments with bias correction; AMSGrad optional.",
                 "torch.optim.Adam; Kingma and Ba 2014, arXiv 1412.6980"),
        "adamw": ("Adam with decoupled weight decay.",
                  "torch.optim.AdamW; Loshchilov and Hutter 2017, arXiv 1711.05101"),
        "adamax": ("Adam with the infinity norm of past gradients.",
                   "torch.optim.Adamax; Kingma and Ba 2014, arXiv 1412.6980"),
        "nadam": ("Adam with Nesterov momentum.", "torch.optim.NAdam; Dozat 2016"),
        "radam": ("Adam with a rectified variance of its early steps.",
                  "torch.optim.RAdam; Liu et al. 2019, arXiv 1908.03265"),
        "adagrad": ("Steps divided by the root of the sum of squared gradients.",
                    "torch.optim.Adagrad; Duchi et al. 2011"),
        "adadelta": ("Steps scaled by running means of squared updates and gradients.",
                     "torch.optim.Adadelta; Zeiler 2012, arXiv 1212.5701"),
        "rmsprop": ("Steps divided by a running root mean square of the gradient.",
                    "torch.optim.RMSprop; Tieleman and Hinton 2012"),
        "rprop": ("Sign-based steps that grow and shrink by coordinate; for full batches.",
                  "torch.optim.Rprop; Riedmiller and Braun 1993"),
        "asgd": ("Stochastic gradient descent with averaged iterates.",
                 "torch.optim.ASGD; Polyak and Juditsky 1992"),
        "adafactor": ("Adaptive steps with factored second moments: little memory.",
                      "torch.optim.Adafactor; Shazeer and Stern 2018, arXiv 1804.04235"),
        "muon": ("Orthogonalized momentum for hidden layers' matrices, AdamW for all else.",
                 "torch.optim.Muon; Jordan et al. 2024; Liu et al. 2025, arXiv 2502.16982"),
        "lbfgs": ("Limited-memory quasi-Newton, optionally with a strong Wolfe line search.",
                  "torch.optim.LBFGS; Liu and Nocedal 1989"),
        "lion": ("The sign of a mean of gradients: all weights move by a (small, falling) rate.",
                 "Chen et al. 2023, arXiv 2302.06675"),
        "adopt": ("Adam that divides by past squares alone: it converges with any second beta.",
                  "Taniguchi et al. 2024, arXiv 2411.02853"),
        "ademamix": ("Adam with a second, slow mean of gradients.",
                     "Pagliardini et al. 2024, arXiv 2409.03137"),
        "prodigy": ("Adam that finds its own step size; `lr` is a factor on it.",
                    "Mishchenko and Defazio 2024, arXiv 2306.06101"),
        "shampoo": ("Gradients times an inverse root of what was seen along each axis.",
                    "Gupta et al. 2018, arXiv 1802.09568"),
        "soap": ("Adam in the eigenvectors of Shampoo's statistics.",
                 "Vyas et al. 2024, arXiv 2409.11321"),
        "schedule_free_sgd": ("SGD whose results are of a mean of its points: needs no schedule.",
                              "Defazio et al. 2024, arXiv 2405.15682"),
        "schedule_free_adamw": ("AdamW whose results are of a mean of its points: no schedule.",
                                "Defazio et al. 2024, arXiv 2405.15682"),
    },
    "schedules": {
        "constant": ("The optimizer's rate throughout.", "this project"),
        "constant_factor": ("lr · factor for `total_iters` steps, then lr.",
                            "torch.optim.lr_scheduler.ConstantLR"),
        "linear": ("Linear from lr · start_factor to lr · end_factor.",
                   "torch.optim.lr_scheduler.LinearLR"),
        "step": ("lr · gamma every `step_size` steps.", "torch.optim.lr_scheduler.StepLR"),
        "multistep": ("lr · gamma at each milestone.", "torch.optim.lr_scheduler.MultiStepLR"),
        "exponential": ("lr · gamma every step.", "torch.optim.lr_scheduler.ExponentialLR"),
        "polynomial": ("Polynomial decay to 0.", "torch.optim.lr_scheduler.PolynomialLR"),
        "cosine": ("Half a cosine from lr to `eta_min`.",
                   "torch.optim.lr_scheduler.CosineAnnealingLR; arXiv 1608.03983"),
        "cosine_warm_restarts": ("Cosine decays that start again, each `T_mult` times as long.",
                                 "torch.optim.lr_scheduler.CosineAnnealingWarmRestarts"),
        "one_cycle": ("Up to `max_lr` and far down again, momentum the other way.",
                      "torch.optim.lr_scheduler.OneCycleLR; arXiv 1708.07120"),
        "cyclic": ("To and fro between `base_lr` and `max_lr`.",
                   "torch.optim.lr_scheduler.CyclicLR; Smith 2015, arXiv 1506.01186"),
        "reduce_on_plateau": ("lr · factor when the loss has not fallen for `patience` steps.",
                              "torch.optim.lr_scheduler.ReduceLROnPlateau"),
        "warmup_stable_decay": ("A rise, the base rate for long, and a short decay.",
                                "Hu et al. 2024, arXiv 2404.06395; transformers"),
        "inverse_sqrt": ("A rise, then lr over the root of the steps: without an end.",
                         "Vaswani et al. 2017, arXiv 1706.03762; transformers"),
        "power_cooldown": ("The base rate, and at the end a decay by a power.",
                           "Hägele et al. 2024, arXiv 2405.18392"),
        "cosine_with_min_lr": ("A rise, half a cosine to a share of lr, and on at that.",
                               "Hoffmann et al. 2022, arXiv 2203.15556; transformers"),
        "piecewise": ("Factors on lr from steps that are given on, or lines between them.",
                      "optax.schedules.piecewise_interpolate_schedule"),
        "warmup": ("A linear rise, then another schedule.",
                   "torch.optim.lr_scheduler.LinearLR and SequentialLR"),
        "sequential": ("One schedule after the other.",
                       "torch.optim.lr_scheduler.SequentialLR"),
        "chained": ("Several at once; their factors multiply.",
                    "torch.optim.lr_scheduler.ChainedScheduler"),
    },
    "models": {
        "linear": ("One affine map: linear, logistic or softmax regression.", "torch.nn.Linear"),
        "mlp": ("Fully connected layers with activation, norm and dropout.", "torch.nn.Linear"),
        "cnn": ("Convolutions of images or lines, each with activation and pooling, then linear.",
                "torch.nn.Conv2d and Conv1d; LeCun et al. 1998"),
        "resnet": ("Three stages of residual blocks of convolutions, then a mean and a linear map.",
                   "He et al. 2015, arXiv 1512.03385, section 4.2"),
        "tabular": ("Residual blocks for tables, with a learned vector for each category.",
                    "Gorishniy et al. 2021, arXiv 2106.11959, section 3.2"),
        "autoencoder": ("A narrow place between two perceptrons; without hidden layers linear.",
                        "Hinton and Salakhutdinov 2006; Baldi and Hornik 1989"),
        "rnn": ("Elman's recurrent network: rows as sequences of (length, channels).",
                "torch.nn.RNN; Elman 1990"),
        "lstm": ("Long short-term memory: rows as sequences of (length, channels).",
                 "torch.nn.LSTM; Hochreiter and Schmidhuber 1997"),
        "gru": ("Gated recurrent units: rows as sequences of (length, channels).",
                "torch.nn.GRU; Cho et al. 2014, arXiv 1406.1078"),
        "transformer": ("Blocks of self-attention with the norm in front: rows as sequences.",
                        "torch.nn.TransformerEncoder; Vaswani et al. 2017, arXiv 1706.03762"),
        "layers": ("Any model, said layer by layer.", "torch.nn.Sequential"),
    },
    "layers": {
        "linear": ("An affine map of the last axis.", "torch.nn.Linear"),
        "conv1d": ("A convolution of (channels, length).", "torch.nn.Conv1d"),
        "conv2d": ("A convolution of (channels, height, width).",
                   "torch.nn.Conv2d; LeCun et al. 1998"),
        "conv_transpose1d": ("The transpose of a convolution of (channels, length).",
                             "torch.nn.ConvTranspose1d; arXiv 1603.07285"),
        "conv_transpose2d": ("The transpose of a convolution of (channels, height, width).",
                             "torch.nn.ConvTranspose2d; arXiv 1603.07285"),
        "embed_categories": ("A learned vector for each category among the features.",
                             "torch.nn.Embedding; Guo and Berkhahn 2016, arXiv 1604.06737"),
        "rnn": ("Elman's recurrent layer of (time, features).", "torch.nn.RNN; Elman 1990"),
        "lstm": ("Long short-term memory of (time, features).",
                 "torch.nn.LSTM; Hochreiter and Schmidhuber 1997"),
        "gru": ("Gated recurrent units of (time, features).",
                "torch.nn.GRU; Cho et al. 2014, arXiv 1406.1078"),
        "multihead_attention": ("Self-attention of (time, features).",
                                "torch.nn.MultiheadAttention; arXiv 1706.03762"),
        "positions": ("A learned vector for each time.", "Devlin et al. 2018, arXiv 1810.04805"),
        "embedding": ("A learned vector for each token of a text.", "torch.nn.Embedding"),
        "final_state": ("The state of a recurrent layer after its last step, of both ways.",
                        "torch.nn.GRU; Schuster and Paliwal 1997"),
        "batch_norm": ("Each feature or channel normalized over the batch.",
                       "torch.nn.BatchNorm2d; Ioffe and Szegedy 2015, arXiv 1502.03167"),
        "layer_norm": ("Each row normalized over the last axis.",
                       "torch.nn.LayerNorm; Ba et al. 2016, arXiv 1607.06450"),
        "rms_norm": ("Each row divided by the root mean square of the last axis.",
                     "torch.nn.RMSNorm; Zhang and Sennrich 2019, arXiv 1910.07467"),
        "group_norm": ("Groups of channels normalized in each row.",
                       "torch.nn.GroupNorm; Wu and He 2018, arXiv 1803.08494"),
        "max_pool1d": ("The largest of each window of (channels, length).", "torch.nn.MaxPool1d"),
        "max_pool2d": ("The largest of each window of (channels, height, width).",
                       "torch.nn.MaxPool2d"),
        "avg_pool1d": ("The mean of each window of (channels, length).", "torch.nn.AvgPool1d"),
        "avg_pool2d": ("The mean of each window of (channels, height, width).",
                       "torch.nn.AvgPool2d"),
        "adaptive_avg_pool1d": ("Means over as many windows as are asked for.",
                                "torch.nn.AdaptiveAvgPool1d"),
        "adaptive_avg_pool2d": ("Means over as many windows as are asked for.",
                                "torch.nn.AdaptiveAvgPool2d"),
        "upsample": ("Numbers repeated to an axis several times as long.", "torch.nn.Upsample"),
        "dropout": ("Numbers left out at random in training.",
                    "torch.nn.Dropout; Srivastava et al. 2014"),
        "flatten": ("Several axes become one.", "torch.nn.Flatten"),
        "unflatten": ("One axis becomes several.", "torch.nn.Unflatten"),
        "transpose": ("Two axes change places.", "torch.transpose"),
        "select": ("One place of an axis, the last time of a sequence, say.", "torch.select"),
        "mean": ("The mean over an axis.", "torch.mean"),
        "residual": ("Layers whose output is added to their input.",
                     "He et al. 2015, arXiv 1512.03385"),
        "branches": ("Lists of layers with one input, whose outputs are put together.",
                     "Szegedy et al. 2014, arXiv 1409.4842"),
        "skip": ("The output of an earlier layer, added here or put behind.",
                 "Ronneberger et al. 2015, arXiv 1505.04597"),
        "batch": ("Batch normalization after each hidden layer (`problem.model.norm`).",
                  "torch.nn.BatchNorm1d; Ioffe and Szegedy 2015, arXiv 1502.03167"),
        "layer": ("Layer normalization after each hidden layer (`problem.model.norm`).",
                  "torch.nn.LayerNorm; Ba et al. 2016, arXiv 1607.06450"),
    },
    "activations": {
        "relu": ("max(x, 0).", "torch.nn.functional.relu"),
        "leaky_relu": ("x, or 0.01·x below 0.", "torch.nn.functional.leaky_relu"),
        "elu": ("x, or exp(x) − 1 below 0.", "torch.nn.functional.elu; arXiv 1511.07289"),
        "selu": ("Scaled ELU, self-normalizing.", "torch.nn.functional.selu; arXiv 1706.02515"),
        "gelu": ("x·Φ(x).", "torch.nn.functional.gelu; arXiv 1606.08415"),
        "silu": ("x·sigmoid(x).", "torch.nn.functional.silu; arXiv 1702.03118"),
        "mish": ("x·tanh(softplus(x)).", "torch.nn.functional.mish; arXiv 1908.08681"),
        "softplus": ("log(1 + exp(x)).", "torch.nn.functional.softplus"),
        "softsign": ("x/(1 + |x|).", "torch.nn.functional.softsign"),
        "tanh": ("Hyperbolic tangent.", "torch.tanh"),
        "sigmoid": ("1/(1 + exp(−x)).", "torch.sigmoid"),
        "hardswish": ("x·clip(x + 3, 0, 6)/6.",
                      "torch.nn.functional.hardswish; arXiv 1905.02244"),
        "identity": ("x.", "torch.nn.Identity"),
    },
    "losses": {
        "cross_entropy": ("Softmax cross-entropy of class ids.",
                          "torch.nn.functional.cross_entropy"),
        "binary_cross_entropy": ("Sigmoid cross-entropy of two classes on one logit.",
                                 "torch.nn.functional.binary_cross_entropy_with_logits"),
        "multi_margin": ("Multi-class hinge loss.", "torch.nn.functional.multi_margin_loss"),
        "mse": ("Mean squared error.", "torch.nn.functional.mse_loss"),
        "l1": ("Mean absolute error.", "torch.nn.functional.l1_loss"),
        "smooth_l1": ("Squared near 0, absolute beyond `beta`.",
                      "torch.nn.functional.smooth_l1_loss; arXiv 1504.08083"),
        "huber": ("Squared near 0, absolute beyond `delta`, scaled.",
                  "torch.nn.functional.huber_loss; Huber 1964"),
        "quantile": ("Pinball loss, whose best output is a quantile of the targets.",
                     "sklearn.metrics.mean_pinball_loss; Koenker and Bassett 1978"),
    },
    "metrics": {
        "accuracy": ("Rows whose class is right; of several labels all of them.",
                     "sklearn.metrics.accuracy_score"),
        "top_k": ("Rows whose class is among the k with the largest outputs.",
                  "sklearn.metrics.top_k_accuracy_score"),
        "balanced_accuracy": ("The mean over classes of the share of their rows that are right.",
                              "sklearn.metrics.balanced_accuracy_score; Brodersen et al. 2010"),
        "f1": ("The mean over classes of the harmonic mean of precision and recall (macro).",
               "sklearn.metrics.f1_score"),
        "auroc": ("The area under the ROC curve; of several classes each one's against the rest.",
                  "sklearn.metrics.roc_auc_score; Hanley and McNeil 1982"),
        "average_precision": ("The area under the precision-recall curve, without interpolation.",
                              "sklearn.metrics.average_precision_score"),
        "confusion_matrix": ("Rows by class and by chosen class; shown in `result.eval`.",
                             "sklearn.metrics.confusion_matrix"),
        "mae": ("Mean absolute error.", "sklearn.metrics.mean_absolute_error"),
        "rmse": ("Root of the mean squared error.", "sklearn.metrics.root_mean_squared_error"),
        "r2": ("Share of the targets' variance that is explained.", "sklearn.metrics.r2_score"),
        "mape": ("Mean of the error by the target's size.",
                 "sklearn.metrics.mean_absolute_percentage_error"),
        "perplexity": ("The exponential of the mean cross-entropy.",
                       "torch.nn.functional.cross_entropy; Jelinek et al. 1977"),
    },
    "functions": {
        "quadratic": ("0.5·xᵀAx + bᵀx + c, by eigenvalues or by matrix.", "this project"),
        "expression": ("A formula in named variables, read by a whitelist.", "this project"),
    },
    "datasets": {
        "digits": ("Handwritten digits, 8 × 8 pixels; 10 classes.",
                   "sklearn.datasets.load_digits"),
        "iris": ("Measures of iris flowers; 3 classes.", "sklearn.datasets.load_iris"),
        "wine": ("Chemical analyses of wines; 3 classes.", "sklearn.datasets.load_wine"),
        "breast_cancer": ("Measures of cell nuclei; 2 classes.",
                          "sklearn.datasets.load_breast_cancer"),
        "diabetes": ("Progression of diabetes after a year; regression.",
                     "sklearn.datasets.load_diabetes"),
        "blobs": ("Isotropic Gaussian clusters; classes.", "sklearn.datasets.make_blobs"),
        "moons": ("Two interleaved half circles; 2 classes.", "sklearn.datasets.make_moons"),
        "circles": ("A circle in a circle; 2 classes.", "sklearn.datasets.make_circles"),
        "spirals": ("Arms of an Archimedean spiral; classes.", "this project"),
        "linear_regression": ("Linear targets of Gaussian features, condition number given.",
                              "sklearn.datasets.make_regression"),
        "friedman1": ("Friedman's first nonlinear regression problem.",
                      "Friedman 1991; sklearn.datasets.make_friedman1"),
        "sinusoid": ("A noisy sine of one feature; regression.", "this project"),
        "sine_sequence": ("Windows of a noisy sine, then the next value; regression.",
                          "this project"),
        "adding_problem": ("The sum of two marked values of a sequence; regression.",
                           "Hochreiter and Schmidhuber 1997"),
        "parity": ("The parity of a sequence of bits; 2 classes.", "this project"),
        "inline": ("Rows in the request itself.", "this project"),
        "text": ("A text in the request itself, for a model of language.", "this project"),
        "dataset": ("Rows of a file that was uploaded: POST /v1/datasets gives its id.",
                    "this project"),
    },
    "initializers": {
        "torch_default": ("What torch.nn.Linear does itself.", "torch.nn.Linear"),
        "kaiming_uniform": ("Uniform, variance 2/fan_in.",
                            "torch.nn.init.kaiming_uniform_; He et al. 2015, arXiv 1502.01852"),
        "kaiming_normal": ("Normal, variance 2/fan_in.",
                           "torch.nn.init.kaiming_normal_; arXiv 1502.01852"),
        "xavier_uniform": ("Uniform, variance 2/(fan_in + fan_out).",
                           "torch.nn.init.xavier_uniform_; Glorot and Bengio 2010"),
        "xavier_normal": ("Normal, variance 2/(fan_in + fan_out).",
                          "torch.nn.init.xavier_normal_; Glorot and Bengio 2010"),
        "orthogonal": ("A random (semi-)orthogonal matrix.",
                       "torch.nn.init.orthogonal_; Saxe et al. 2013, arXiv 1312.6120"),
        "normal": ("Normal with given mean and deviation.", "torch.nn.init.normal_"),
        "uniform": ("Uniform between two bounds.", "torch.nn.init.uniform_"),
        "constant": ("One value everywhere.", "torch.nn.init.constant_"),
    },
}  # fmt: skip
"""Family -> kind -> (summary, source).

The classic functions' lines are in `core.specs.formulas.classic`.
"""


FIELD_OF: Final = {
    "optimizers": "optimizer",
    "schedules": "schedule",
    "models": "model",
    "layers": "layers",
    "losses": "loss",
    "metrics": "metrics",
    "functions": "function",
    "initializers": "init",
}
"""Families that are one field's choices: the field's name in `families.UNIONS`."""


class Supports(TypedDict):
    """The features that a kind can be used with; `fused`, of optimizers, models and layers: whether
    a study's runs with it train together as one computation, where that is faster."""

    resume: bool
    devices: list[str]
    precisions: list[str]
    fused: NotRequired[bool]


class Entry(TypedDict):
    """A kind as the catalogue shows it. `example`: a job's spec that uses it, ready to post. Of a
    metric, `goal` is its better side (null: it is no number), and it suits these `losses`."""

    kind: str
    summary: str
    schema: Json
    example: Json
    source: str
    supports: Supports
    goal: NotRequired[Literal["min", "max"] | None]
    losses: NotRequired[list[str]]


FAMILIES: Final = (
    "optimizers",
    "schedules",
    "models",
    "layers",
    "activations",
    "losses",
    "metrics",
    "functions",
    "datasets",
    "initializers",
)


def kinds(family: str) -> tuple[str, ...]:
    """Return the kinds of a family of `FAMILIES`, in the catalogue's order."""
    return tuple(_schemas(family))


@cache
def entries(family: str) -> tuple[Json, ...]:
    """Return the contract's entries, each with an example. Do not change them: they are shared."""
    found = []
    for kind, schema in _schemas(family).items():
        summary, source = _text(family, kind)
        found.append(
            {
                "kind": kind,
                "summary": summary,
                "schema": {**schema, "examples": [choice(family, kind)]},
                "example": minimal_example(family, kind),
                "source": source,
                "supports": _supports(family, kind),
                **(_of_metric(kind) if family == "metrics" else {}),
            }
        )
    return tuple(found)


def _schemas(family: str) -> dict[str, Json]:
    if family in FIELD_OF:
        return {kind: _schema(model) for kind, model in models_of(family).items()}
    if family == "activations":
        return {name: {"const": name, "type": "string"} for name in get_args(Activation)}
    generators = {kind: _schema(model) for kind, model in members("generator").items()}
    others: dict[str, type[Spec]] = {"inline": Inline, "text": InlineText, "dataset": Upload}
    return {
        **_builtins(), **generators, **{kind: _schema(model) for kind, model in others.items()}
    }  # fmt: skip


def models_of(family: str) -> dict[str, type[Spec]]:
    """Return the models of a family of `FIELD_OF` by kind. Among the layers are the norms that the
    hidden layers of other models may have."""
    norms = members("norm") if family == "layers" else {}
    return {**members(FIELD_OF[family]), **norms}


def _builtins() -> dict[str, Json]:
    found = {}
    for name in get_args(Builtin.model_fields["name"].annotation):
        schema = _schema(Builtin)
        schema["properties"] = {
            **schema["properties"], "name": {"const": name, "type": "string", "title": "Name"},
        }  # fmt: skip
        found[str(name)] = schema
    return found


def any_of(schema: Any) -> Any:
    """Return a schema in which a choice without kinds is `anyOf`: a list of whole numbers is one of
    numbers too, and `oneOf` would refuse what fits both."""
    if isinstance(schema, list):
        return [any_of(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: any_of(part) for name, part in schema.items()}
    if "oneOf" in found and "discriminator" not in found and isinstance(found["oneOf"], list):
        found["anyOf"] = found.pop("oneOf")
    return found


def _schema(model: type[Spec]) -> Json:
    schema: Json = any_of(model.model_json_schema())
    if "$ref" not in schema:
        return schema
    # A model that contains itself stands among the definitions: put it at the root.
    definitions = schema["$defs"]
    return {**definitions[schema["$ref"].rsplit("/", 1)[-1]], "$defs": definitions}


def _text(family: str, kind: str) -> tuple[str, str]:
    if family == "functions" and kind in CLASSICS:
        classic = CLASSICS[kind]
        dim = classic.fixed_dim or 2
        return f"{classic.formula}; minimum {classic.minimum(dim):g} (n = {dim}).", classic.source
    texts = TEXTS[family]
    return texts[kind] if kind in texts else TEXTS["activations"][kind]


def _of_metric(kind: str) -> Json:
    facts = METRICS[kind]
    losses = [name for name, targets in _TARGETS.items() if facts.suits & targets]
    return {"goal": facts.goal, "losses": losses if kind != "perplexity" else ["cross_entropy"]}


_VALUES: Final = frozenset[Targets]({"values"})
_TARGETS: Final[dict[str, frozenset[Targets]]] = {
    **dict.fromkeys(members("loss"), _VALUES),
    "cross_entropy": frozenset({"classes"}),
    "multi_margin": frozenset({"classes"}),
    "binary_cross_entropy": frozenset({"two_classes", "labels"}),
}
"""The targets that a loss can have, by its kind."""


def _supports(family: str, kind: str) -> Json:
    """Return `fused`: whether a study's runs with it train together as one computation; `onnx`:
    whether a trained model with it can be had as ONNX."""
    supports: Json = {
        "resume": True,
        "devices": ["cpu", "cuda"],
        "precisions": ["float32", "float64"],
    }
    if family != "functions" and kind != "lbfgs":
        supports["precisions"].append("bfloat16")
    if family == "optimizers":
        supports["fused"] = kind not in {kind_of(model) for model in get_args(NotFused)}
    if family in ("models", "layers"):
        supports["fused"] = kind != "lstm"
    if family in ("models", "layers", "activations", "functions"):
        supports["onnx"] = family != "functions"
    return supports
