"""The table of rules: what is looked at, where the threshold lies, why, and whose criterion it is.

Reading it from top to bottom is reading the diagnosis. The tests themselves are in `stability`,
`stationarity`, `progress` and `inside`; `verdict` weighs the findings.
"""

from typing import Final

from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.finding import Finding, Findings, Rule
from core.diagnosis.rules import causes, data, layers, progress, stability, stationarity

RULES: Final[tuple[Rule, ...]] = (
    # --- is the step too long? ---
    Rule(
        "diverged",
        "a non-finite loss, stop.max_loss, or E − L₀ > 3·max(|L₀|, L₀ − L_best)",
        "The run ended far above where it began.",
        "the outcome's own rule; E is the median of the last 10 losses",
        stability.look_diverged,
    ),
    Rule(
        "undefined_gradient",
        "a gradient that is not finite at a finite loss that had not grown",
        "The formula has no slope where the run came to, whatever the rate.",
        "Nocedal and Wright 2006, section 2.1 (smoothness is presumed); torch's autograd notes,"
        " gradients of non-differentiable functions",
        causes.look_undefined_gradient,
    ),
    Rule(
        "undefined_update",
        "a finite loss (not grown) and gradient, and an update that is not finite",
        "The method divides by 0: an `eps` of 0, or one that underflows in the job's precision.",
        "Kingma and Ba 2015, algorithm 1 (ε); IEEE 754 (underflow)",
        causes.look_undefined_update,
    ),
    Rule(
        "unstable_step",
        "η·λ_max > 2 (gradient descent), 2+2β (heavy ball), (2+2β)/(1+2β) (Nesterov)",
        "Above it the error grows along the sharpest direction; exact on quadratics.",
        "Polyak 1964; Cohen et al. 2021 (arXiv 2103.00065), section 5",
        stability.look_unstable_step,
    ),
    Rule(
        "no_minimum",
        "λ_min < 0 of a quadratic, and over half of the squared gradient along it",
        "The function has no minimum, and the run has found the way down.",
        "Nocedal and Wright 2006, Numerical Optimization, section 2.1",
        stability.look_no_minimum,
    ),
    Rule(
        "loss_growing",
        "second half rises (Mann–Kendall z ≥ 2; 3.5 with noise) by 10 %, to 10 % above the start",
        "It has not diverged yet, but is on the way.",
        "Mann 1945; Kendall 1975",
        stability.look_loss_growing,
    ),
    Rule(
        "gradients_oppose",
        "median cosine of successive gradients < −0.5, and slow: no fall in the second half, or"
        " (quadratics) over 0.95 a step where ten times fewer steps are possible, or half of the"
        " loss is oscillation",
        "The steps jump from wall to wall of the valley; a smaller one would go down it.",
        "LeCun et al. 1998, Efficient BackProp, section 4.6; trapezoid rule where neither"
        " grad_cosine nor points are recorded",
        stability.look_gradients_oppose,
    ),
    Rule(
        "cycling",
        "no noise, second half gains < 2 %, and the path returns (net < 20 % of its length) or the"
        " loss swings",
        "A limit cycle or chaos: bounded, and never arriving.",
        "Lessard, Recht and Packard 2016 (arXiv 1408.3595), section 4.6",
        stability.look_cycling,
    ),
    Rule(
        "ringing",
        "the loss (or the path) swings at least three times, in the last quarter still to 0.1 of"
        " the first gap and to half of two quarters before",
        "Momentum carries the run through the minimum again and again, whatever the rate.",
        "O'Donoghue and Candès 2015, Adaptive Restart for Accelerated Gradient Schemes, section 3;"
        " Goh 2017, Why Momentum Really Works (underdamped)",
        stability.look_ringing,
    ),
    Rule(
        "bouncing",
        "batch noise; nothing gained; loss once 3 × its start and gradients 2 × theirs, or"
        " differences with lag-1 autocorrelation < −0.75 (white noise has −0.5)",
        "The rate is too large for mini-batches, though the loss stays finite.",
        "Box and Jenkins 1976 (autocorrelation of an over-differenced series)",
        stability.look_bouncing,
    ),
    Rule(
        "edge_of_stability",
        "curvature ≥ 0.9 of the threshold off a quadratic, while the loss falls",
        "Normal for full batches; for information.",
        "Cohen et al. 2021 (arXiv 2103.00065)",
        stability.look_edge_of_stability,
    ),
    # --- where has it come to rest? ---
    Rule(
        "stationary",
        "stop.gradient_norm held, or a gradient of exactly 0, or 1e-8 of the first gap left"
        " (functions), or gradient norm < 1e-6 of its first size (float32: 1e-6, 1e-4) and nothing"
        " to gain; convex losses of all rows: nothing to gain. To gain, that is: by a Newton step"
        " over 1e-3 of the first gap, or over 1 % of the loss and 1e-5 of the gap; not measured:"
        " the second half still takes 1 % (convex: or over 1e-3 of the gap by the fitted limit or"
        " ‖g‖²/2μ, or a gradient above 0.05 of its first). Within bounds: the projected gradient."
        " Functions: also a minimum known to six digits of its place and nine of the loss. Not"
        " where a loss of all data ends above its start, if it is convex or the last row's gradient"
        " is not small",
        "The gradient is as good as 0.",
        "Nocedal and Wright 2006, theorem 2.2 and section 16.7 (bounds); Newton decrement: Boyd and"
        " Vandenberghe 2004, 9.5.1; Polyak 1963 (‖g‖²/2μ)",
        stationarity.look_stationary,
    ),
    Rule(
        "negative_curvature",
        "a gradient ≤ 0.1 of its first size (or 0.05 of the usual), and λ_min <"
        " −max(resolution, 1e-6·|λ|_max), also in units of each coordinate's scale, or (not"
        " resolved) the function is lower nearby; models: and a real step to either side gains 1 %"
        " of the loss. Where the slope jumps (a kink) no curvature is told",
        "A point of rest that is no minimum: a saddle point.",
        "Nocedal and Wright 2006, theorem 2.3; Dauphin et al. 2014 (arXiv 1406.2572)",
        stationarity.look_negative_curvature,
    ),
    Rule(
        "above_known_minimum",
        "at rest more than 1e-6 of the first gap, and 100 × what is in reach, above the minimum"
        " (within the bounds; on ground flat to rounding: above a value around); models: 10 %"
        " above, or above the loss that the run began with",
        "A minimum, but not the lowest.",
        "the function's published minimum (Jamil and Yang 2013, arXiv 1308.4008), else a"
        " multi-start's; models: three other seeds",
        stationarity.look_above_known_minimum,
    ),
    Rule(
        "plateau",
        "second half gains < 2 % without a clear trend, gradient ≤ 0.1 of its first size (or 0.05"
        " of the usual, or 0.1 of the mean slope to a minimum, or batches that cancel out)",
        "Flat ground: hardly any slope to follow. A steady fall after a spike is none, nor is a"
        " model with under 2 % of its loss left, nor a start that was hardly left where the slope"
        " leads to all there is to gain within the function's scale.",
        "Theil 1950, Sen 1968, Mann 1945 (trend); Fukumizu and Amari 2000 (plateaus)",
        stationarity.look_plateau,
    ),
    # --- is it fast, and is it good? ---
    Rule(
        "rate_far_below_threshold",
        "η·λ_max ≤ a tenth of the threshold, at least 5 times fewer steps possible, not arrived",
        "A larger rate is stable and proportionally faster.",
        "Nesterov 2018, Lectures on Convex Optimization, theorem 2.1.15",
        progress.look_rate_far_below_threshold,
    ),
    Rule(
        "steady_slow_descent",
        "falls at 0.3 to 3 × its early speed (per summed rate) with ≤ 75 % gone (of evaluations"
        " that fall all the way, where batches hide the loss's fall: ≤ 25 %); or all steps"
        " together could have taken off < 5 % at an undiminished gradient (measured on all data:"
        " < 50 %); or less than a tenth of the loss is gone at a factor ≤ 0.1 on lengths that the"
        " method finds itself",
        "The run ended within the first time constant of the descent: the rate is too small.",
        "gradient flow: progress is a function of the summed learning rate",
        progress.look_steady_slow_descent,
    ),
    Rule(
        "straight_path",
        "adaptive method, path straight to 0.98 at over 30 % of the full step, still falling",
        "Each step is about η long whatever the gradient: η sets the pace.",
        "Kingma and Ba 2015 (arXiv 1412.6980), section 2.1",
        progress.look_straight_path,
    ),
    Rule(
        "ill_conditioned",
        "κ ≥ 50, gap shrinks by less than 1 % a step, momentum at least 4 times faster",
        "The rate suits the sharpest direction and is slow along the flat ones.",
        "Polyak 1964: (√κ−1)/(√κ+1) against (κ−1)/(κ+1)",
        progress.look_ill_conditioned,
    ),
    Rule(
        "overfitting",
        "evaluation loss 20 % above its best and rising (Kendall tau > 0.3), by 5 % of what it had"
        " gained (of three times its best, if that is less), while the training loss fell by 5 %;"
        " or 20 % above that of the initial weights, while the training loss halved",
        "The model learns the rows, not the rule.",
        "Prechelt 1998, Early Stopping - But When? (generalization loss)",
        progress.look_overfitting,
    ),
    Rule(
        "noise_limited",
        "batch noise ≥ 5 % of a level that no longer falls, after a fall of 20 %; the steps'"
        " own noise, where it can be told, makes ≥ 5 % of the level; with batch norm or dropout"
        " ≥ 20 % of the evaluation losses, which stand still too",
        "Steps of this size cannot settle lower with batches of this size.",
        "Bottou, Curtis and Nocedal 2018, theorem 4.6; Mandt et al. 2017 (arXiv 1704.04289)",
        progress.look_noise_limited,
    ),
    Rule(
        "gradient_spikes",
        "a gradient norm 100 × the median",
        "Exploding gradients; for information and for clipping.",
        "Pascanu, Mikolov and Bengio 2013 (arXiv 1211.5063)",
        layers.look_gradient_spikes,
    ),
    Rule(
        "constant_guess",
        "loss at the end (over all rows, where measured) > 0.95 of the best constant output's",
        "The model has learned nothing from the features: neither healthy nor converged.",
        "Hastie, Tibshirani and Friedman 2009, section 7.4 (R² against the mean); the entropy of"
        " the classes: Cover and Thomas 2006, section 2.1",
        causes.look_constant_guess,
    ),
    Rule(
        "equal_units",
        "equal first weights (a constant, or a spread of 0) of a model with hidden layers, without"
        " dropout; not where one unit a layer can do as much (a layer of one unit; a linear model"
        " with one output), unless they are 0",
        "Units that begin equal stay equal: a layer is as good as one unit, and neither healthy nor"
        " converged.",
        "Goodfellow, Bengio and Courville 2016, Deep Learning, section 8.4 (breaking symmetry)",
        causes.look_equal_units,
    ),
    Rule(
        "held_by_clipping",
        "a gradient 10 × the limit and ≥ 0.3 of its first size, with < 50 % of the loss gone",
        "Clipped steps are all as long as the limit allows: the limit is the rate.",
        "Pascanu, Mikolov and Bengio 2013 (arXiv 1211.5063); Zhang et al. 2020 (arXiv 1905.11881)",
        causes.look_held_by_clipping,
    ),
    Rule(
        "held_by_decay",
        "Σ η·decay ≥ 3, decay ≥ 1 (coupled: η·decay ≥ 0.01), < 50 % gone, nothing gained any more;"
        " or both ≥ 1, where η·decay is the share of each weight that an update takes off",
        "Decay takes off the weights what the gradient puts on them.",
        "Loshchilov and Hutter 2019 (arXiv 1711.05101); Kosson et al. 2024 (arXiv 2305.17212)",
        causes.look_held_by_decay,
    ),
    # --- inside: these explain, and choose among remedies ---
    Rule(
        "vanishing_gradients",
        "gradient per weight of the first layer < 1e-3 of the last's, at the start",
        "The lower layers hardly learn.",
        "Glorot and Bengio 2010; Bengio, Simard and Frasconi 1994",
        layers.look_vanishing,
    ),
    Rule(
        "vanishing_through_time",
        "gradient in a recurrent layer's inputs at one step < 1e-3 of that at another",
        "What stands so far back in a sequence is hardly learned from.",
        "Bengio, Simard and Frasconi 1994; Pascanu, Mikolov and Bengio 2013 (arXiv 1211.5063)",
        layers.look_vanishing_through_time,
    ),
    Rule(
        "exploding_start",
        "the same > 1e3, or a first loss 30 times that of a constant output",
        "The first weights are too large for this depth.",
        "Glorot and Bengio 2010; He et al. 2015 (arXiv 1502.01852)",
        layers.look_exploding,
    ),
    Rule(
        "dead_units",
        "half of the hidden units have no slope on any row",
        "No gradient reaches them: a rate or first weights that were too large.",
        "Lu et al. 2019, Dying ReLU and Initialization (arXiv 1903.06733)",
        layers.look_dead_units,
    ),
    Rule(
        "saturated_units",
        "half of the (unit, row) pairs have under 2 % of the steepest slope",
        "Learning is slow where activations are flat.",
        "Glorot and Bengio 2010, section 3",
        layers.look_saturated,
    ),
    Rule(
        "large_updates",
        "the next update of a weight matrix is over a tenth of it",
        "Usual ratios lie near 1e-3.",
        "Bottou 2012, Stochastic Gradient Descent Tricks (rule of thumb)",
        layers.look_update_size,
    ),
    Rule(
        "preconditioned_sharpness",
        "η·λ_max(P⁻¹H) ≥ 0.9 of (2+2β₁)/(1−β₁) (Adam), 2+2β (RMSprop), 2 (Adagrad)",
        "An adaptive method at its edge of stability; for information, because it drifts.",
        "Cohen et al. 2022 (arXiv 2207.14484)",
        layers.look_preconditioned,
    ),
    Rule(
        "gradient_noise_scale",
        "tr(Σ)/|G|² > 10 batches",
        "Larger batches would help as much as more steps.",
        "McCandlish et al. 2018 (arXiv 1812.06162)",
        layers.look_noise_scale,
    ),
    # --- what is wrong with the data? ---
    Rule(
        "constant_features",
        "a feature with one value in all training rows",
        "Nothing is learned from it; for information.",
        "Kuhn and Johnson 2013, Applied Predictive Modeling, section 3.5 (zero variance)",
        data.look_constant_features,
    ),
    Rule(
        "shared_rows",
        "over 1 % of the rows held back equal a training row, features and targets",
        "Evaluation and test are better than on new rows; for information.",
        "Kaufman et al. 2012, Leakage in Data Mining, section 4; Barz and Denzler 2020 (arXiv"
        " 1902.00423)",
        data.look_shared_rows,
    ),
    Rule(
        "unscaled_features",
        "standard deviations of two features, as the model gets them, over 100 apart",
        "The curvatures differ by the square of it: descent is slow along the small ones.",
        "LeCun et al. 1998, Efficient BackProp, section 4.3",
        data.look_unscaled_features,
    ),
    Rule(
        "rare_classes",
        "a class with under a tenth of an even share of the training rows",
        "Accuracy hardly sees it; for information.",
        "He and Garcia 2009, Learning from Imbalanced Data",
        data.look_rare_classes,
    ),
    Rule(
        "target_leak",
        "one of several features tells 99 % of the classes by itself, or has a rank correlation of"
        " 0.999 with the value",
        "Either the task is trivial, or the feature is known only after the target; for"
        " information.",
        "Kaufman et al. 2012, Leakage in Data Mining, section 4",
        data.look_target_leak,
    ),
    Rule(
        "descent",
        "a criterion of stop held, or half of the first gap is gone, or a clear fall of 5 %",
        "The run does what it should.",
        "Sen 1968 (trend)",
        progress.look_descent,
    ),
)


def examine(evidence: Evidence) -> Findings:
    """Read every rule of the table, in its order."""
    return {rule.id: Finding(rule, rule.look(evidence)) for rule in RULES}
