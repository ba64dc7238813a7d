"""Rules on the data: what training cannot mend, and figures hide. They say nothing of a descent.

Their facts are counted when a job's data are loaded (`core.train.data.examine`).
"""

from typing import Final

from core.diagnosis.evidence.evidence import Evidence
from core.diagnosis.finding import RuleAnswer, clear, over, triggered, unknown
from core.specs.base import Json

SHARED: Final = 0.01
SPREAD: Final = 100.0
RARE: Final = 0.1
TOLD: Final = 0.99
CORRELATED: Final = 0.999
_NOT: Final = "The data were not looked at: there are none, or an earlier version loaded them."


def look_constant_features(e: Evidence) -> RuleAnswer:
    """Look for features that have one value in all training rows."""
    found = _fact(e, "constant")
    if found is None:
        return unknown(_NOT)
    num, of = float(found["num"]), float(found["of"])
    numbers = {"constant": num, "features": of}
    if num == 0:
        return clear("No feature has the same value in all training rows.", 1.0, **numbers)
    some = ", ".join(found["names"]) + (", …" if num > len(found["names"]) else "")
    text = f"{num:.0f} of {of:.0f} features have one value in all training rows ({some}): nothing"
    text += " is learned from them, and rows with another value meet weights that nobody trained."
    return triggered(text + " Leave them out of `features`.", 1.0, **numbers)


def look_shared_rows(e: Evidence) -> RuleAnswer:
    """Look for rows held back that stand among the training rows."""
    found = _fact(e, "shared")
    if found is None:
        return unknown("No rows are held back." if e.data else _NOT)
    share = found["num"] / found["of"]
    numbers = {"shared": float(found["num"]), "held_back": float(found["of"]), "share": share}
    text = f"{found['num']} of {found['of']} rows held back equal a training row"
    if share > SHARED:
        text += ": their figures tell what was learned by heart. Remove the copies, or split by a"
        text += " column that keeps copies together (`split.kind` `column`)."
        return triggered(text, over(share, SHARED), **numbers)
    return clear(text + ".", over(max(share, 1e-4), SHARED), **numbers)


def look_unscaled_features(e: Evidence) -> RuleAnswer:
    """Look for features whose standard deviations are far apart."""
    found = _fact(e, "spread")
    if found is None:
        return unknown("There are no two features of numbers that vary." if e.data else _NOT)
    ratio = float(found["ratio"])
    text = f"The standard deviation of {found['largest']!r} is {ratio:.3g} times that of"
    text += f" {found['smallest']!r}"
    if ratio > SPREAD:
        text += ": no learning rate suits both. `standardize` gives them one size."
        return triggered(text, over(ratio, SPREAD), ratio=ratio)
    return clear(text + ".", over(ratio, SPREAD), ratio=ratio)


def look_rare_classes(e: Evidence) -> RuleAnswer:
    """Look for a class with a tenth of an even share of the training rows."""
    found = _fact(e, "rarest")
    if found is None:
        return unknown("The targets are values." if e.data else _NOT)
    share = found["num"] / found["of"] / found["even_share"]
    numbers = {"rows": float(found["num"]), "of_even_share": share}
    text = f"The class {found['name']!r} has {found['num']} of {found['of']} training rows"
    if share < RARE:
        text += ": a model that never names it is right almost as often. Read `balanced_accuracy`"
        text += " or `f1`; `class_weights` `balanced` (or `pos_weight`) gives it its weight."
        return triggered(text, over(RARE, max(share, 1e-3)), **numbers)
    return clear(text + ".", over(RARE, share), **numbers)


def look_target_leak(e: Evidence) -> RuleAnswer:
    """Look for a feature that tells the target by itself."""
    found = _fact(e, "tell_tale")
    if found is None:
        return unknown("Needs twenty rows of one target and two features." if e.data else _NOT)
    share, values = float(found["share"]), _fact(e, "rarest") is None
    limit = CORRELATED if values else TOLD
    if values:
        text = f"The feature {found['name']!r} has a rank correlation of {share:.4g} with the"
        text += " target"
    else:
        text = f"The feature {found['name']!r} by itself tells {share:.1%} of the classes"
    if share >= limit:
        text += ": is it known when a prediction is made? If not, leave it out of `features`."
        return triggered(text, 1.0, share=share)
    return clear(text + ".", over(share, limit), share=share)


def _fact(e: Evidence, name: str) -> Json | None:
    found: Json | None = (e.data or {}).get(name)
    return found
