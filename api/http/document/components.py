"""The document's components as client generators like them: what is sent apart from what comes
back, unions under names of their own, plain names, examples."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any, Final

from core.specs.base import Json, field_docstrings
from core.specs.catalog import FAMILIES, FIELD_OF, any_of, models_of
from core.specs.data import StoredRows, TextCounts
from core.specs.examples import choice, minimal_example
from core.specs.job import JobSpec
from core.specs.models import StoredWeights
from core.specs.study import StudySpec
from core.specs.unions import members

_REF: Final = "#/components/schemas/"

UNION_NAMES: Final = {
    "problem": "Problem",
    "data": "Data",
    "generator": "Generator",
    "order": "DataOrder",
    "split": "DataSplit",
    "augment": "Augmentation",
    "tokenizer": "Tokenizer",
    "model": "Model",
    "norm": "Normalization",
    "layers": "Layer",
    "init": "Initializer",
    "loss": "Loss",
    "metrics": "EvaluationMetric",
    "function": "ObjectiveFunction",
    "optimizer": "Optimizer",
    "wrap": "OptimizerWrapper",
    "schedule": "Schedule",
    "gradient_clip": "GradientClip",
    "on_divergence": "OnDivergence",
    "strategy": "Strategy",
}
"""Field of `UNIONS` -> the union's name."""

LEFT_OUT: Final = frozenset({"when"})
"""Fields that a resolved spec has where they say something, and lacks else."""

_SUFFIXES: Final = {
    "problem": "Problem",
    "data": "Data",
    "generator": "Generator",
    "order": "Order",
    "tokenizer": "Tokenizer",
    "model": "Model",
    "layers": "Layer",
    "init": "Initializer",
    "loss": "Loss",
    "metrics": "Metric",
    "function": "Function",
    "optimizer": "Optimizer",
    "wrap": "Wrapper",
    "schedule": "Schedule",
}
"""Field of `UNIONS` -> the end of its kinds' names: a linear model is no linear schedule."""

NAMES: Final = {
    "Problem": "ProblemDetails",
    "Mistake": "FieldError",
    "ConstantInit": "ConstantInitializer",
    "LinearRegressionData": "LinearRegressionGenerator",
    "ClipNorm": "ClipByNorm",
    "ClipValue": "ClipByValue",
    "Record": "Recording",
    "Stop": "StopCriteria",
    "StartFrom": "StartPoint",
    "AttemptView": "Attempt",
    "ColumnView": "DatasetColumn",
    "DataView": "JobData",
    "RefusalView": "FileRefusal",
    "EstimateView": "JobEstimate",
    "LayerView": "ModelLayer",
    "TimelineEntryView": "TimelineEntry",
    "UsageView": "Usage",
    "Comparison": "ComparisonToParent",
    "Links": "JobLinks",
    "Progress": "JobProgress",
    "Validated": "ValidatedJob",
    "Entry": "CatalogEntry",
    "Entries": "CatalogEntries",
    "Counts": "CatalogCounts",
    "Preview": "SchedulePreview",
    "Alive": "Liveness",
    "Ready": "Readiness",
}
"""Class -> name of its component, where a plain one is not its own."""


def plain(document: Json) -> Json:
    """Return the document with its components as this module says. Replies and requests stay what
    they are."""
    document = any_of(document)
    schemas = document["components"]["schemas"]
    for own in (StoredRows, StoredWeights, TextCounts):  # of what the service writes for itself
        schemas.pop(own.__name__, None)
    _type_the_base(schemas)
    _add_examples(schemas)
    renamed = _new_names()
    document = _with_refs(document, lambda name: renamed.get(name, name))
    named = document["components"]["schemas"].items()
    schemas = {renamed.get(name, name): part for name, part in named}
    unions = _unions(schemas)
    document["components"]["schemas"] = schemas
    document = _named_unions(document, unions)
    schemas = document["components"]["schemas"]
    schemas |= {name: _union(part, name) for name, part in unions.items()}
    of_specs = _reachable(schemas, {renamed.get(name, name) for name in _SENT})
    _split(document, of_specs)
    _add_own_fields(schemas)
    for name, schema in document["components"]["schemas"].items():
        _simplify(schema, sent=name in of_specs)
        schema["title"] = name
    document["components"]["schemas"] = dict(sorted(document["components"]["schemas"].items()))
    return document


_BOUNDS: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_SENT: Final = (
    "JobSpec", "StudySpec", "Continuation", "DiagnosisRequest", "RecordChange", "JobClone",
    "StudyClone", "DatasetPatch", "PredictionRequest", "FunctionPoints",
)  # fmt: skip
"""Bodies of requests."""


def _new_names() -> dict[str, str]:
    found = dict(NAMES)
    for field, suffix in _SUFFIXES.items():
        for model in members(field).values():
            name = model.__name__
            if name not in found and not name.endswith(suffix):
                found[name] = f"{name}{suffix}"
    return found


def _type_the_base(schemas: Json) -> None:
    """Describe a study's base by a job's spec of which parts may be missing: those that the sweep
    gives."""
    base = copy.deepcopy(schemas[JobSpec.__name__])
    base.pop("required", None)
    base["description"] = field_docstrings(StudySpec)["base"]
    for name in ("problem", "optimizer", "schedule"):
        whole = base["properties"][name]
        said = {key: whole.pop(key) for key in ("description", "default") if key in whole}
        part = {"type": "object", "description": "A part of it: the sweep gives the rest."}
        base["properties"][name] = {"anyOf": [whole, part], **said}
    schemas["StudyBase"] = base
    own = schemas[StudySpec.__name__]["properties"]["base"]
    schemas[StudySpec.__name__]["properties"]["base"] = {
        "$ref": f"{_REF}StudyBase",
        "description": own["description"],
    }


_SOME_ID: Final = "01k0c8f5w3t9q7x2m4n6p8r0sa"


def _add_examples(schemas: Json) -> None:
    for family in FAMILIES:
        if family in FIELD_OF:
            for kind, model in models_of(family).items():
                schemas[model.__name__]["examples"] = [choice(family, kind)]
    job = minimal_example("optimizers", "adam")
    sweep = {"optimizer.lr": {"log": [0.0001, 1.0], "count": 16}}
    examples: dict[str, list[Json]] = {
        "JobSpec": [job, minimal_example("functions", "expression")],
        "StudySpec": [{"base": job, "sweep": sweep, "repeats": 3}],
        "StudyBase": [job],
        "Continuation": [{"budget": {"max_steps": 5000}}],
        "DiagnosisRequest": [{"checkpoint": "final"}],
        "FunctionPoints": [
            {"function": {"kind": "beale"}, "points": [[3.0, 0.5], [0.0, 0.0]]},
            {"function": {"kind": "beale"}, "grid": {"x1": [-4, 4, 81], "x2": [-4, 4, 81]}},
        ],
        "PredictionRequest": [
            {"features": [[5.1, 3.5, 1.4, 0.2]], "checkpoint": "best"},
            {"features": [{"size": 70, "colour": "red"}]},
            {"dataset": f"data_{_SOME_ID}"},
        ],
        "RecordChange": [{"name": "baseline", "labels": {"team": "vision", "draft": None}}],
        "JobClone": [{"from": f"job_{_SOME_ID}", "patch": {"optimizer": {"lr": 0.01}}}],
        "StudyClone": [{"from": f"study_{_SOME_ID}", "patch": {"repeats": 5}}],
    }
    for name, found in examples.items():
        schemas[name]["examples"] = found


def _with_refs(node: Any, rename: Callable[[str], str]) -> Any:
    """Return the node with every reference renamed."""
    if isinstance(node, dict):
        return {key: _with_refs(part, rename) for key, part in node.items()}
    if isinstance(node, list):
        return [_with_refs(part, rename) for part in node]
    if isinstance(node, str) and node.startswith(_REF):
        return f"{_REF}{rename(node.removeprefix(_REF))}"
    return node


def _unions(schemas: Json) -> dict[str, Json]:
    """Find the unions where they stand in a property: their members tell which they are."""
    names = {
        frozenset(_new_names().get(m.__name__, m.__name__) for m in members(field).values()): name
        for field, name in UNION_NAMES.items()
    }
    found: dict[str, Json] = {}
    for part in _parts(schemas):
        if "discriminator" in part and (name := names.get(_members_of(part))):
            found.setdefault(name, {key: part[key] for key in ("oneOf", "discriminator")})
    assert len(found) == len(UNION_NAMES), sorted(set(UNION_NAMES.values()) - set(found))
    return found


def _parts(node: Any) -> Iterator[Json]:
    if isinstance(node, dict):
        yield node
        for part in node.values():
            yield from _parts(part)
    elif isinstance(node, list):
        for part in node:
            yield from _parts(part)


def _members_of(union: Json) -> frozenset[str]:
    refs = (part.get("$ref", "") for part in union.get("oneOf", ()))
    return frozenset(ref.removeprefix(_REF) for ref in refs)


def _named_unions(node: Any, unions: dict[str, Json]) -> Any:
    """Return the node with a reference in the place of each union."""
    if isinstance(node, list):
        return [_named_unions(part, unions) for part in node]
    if not isinstance(node, dict):
        return node
    if "discriminator" in node:
        for name, union in unions.items():
            if _members_of(union) == _members_of(node):
                rest = {k: v for k, v in node.items() if k not in {"oneOf", "discriminator"}}
                return {"$ref": f"{_REF}{name}", **rest}
    return {key: _named_unions(part, unions) for key, part in node.items()}


def _union(union: Json, name: str) -> Json:
    field = next(field for field, known in UNION_NAMES.items() if known == name)
    tag = union["discriminator"]["propertyName"]
    return {**union, "description": f"A choice by `{tag}`: {', '.join(members(field))}."}


def _reachable(schemas: Json, names: set[str]) -> set[str]:
    found: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        if name not in found:
            found.add(name)
            left += [each.removeprefix(_REF) for each in _refs(schemas[name])]
    return found


def _refs(node: Any) -> Iterator[str]:
    for part in _parts(node):
        for value in part.values():
            if isinstance(value, str) and value.startswith(_REF):
                yield value


def _split(document: Json, of_specs: set[str]) -> None:
    """Give what comes back components of its own: there every field is written out."""
    schemas = document["components"]["schemas"]

    def resolved(name: str) -> str:
        return f"Resolved{name}" if name in of_specs else name

    views = {name: part for name, part in schemas.items() if name not in of_specs}
    shown = {each.removeprefix(_REF) for each in _refs(views)} & of_specs
    for methods in document["paths"].values():
        for operation in methods.values():
            replies = operation["responses"]
            shown |= {each.removeprefix(_REF) for each in _refs(replies)} & of_specs
            operation["responses"] = _with_refs(replies, resolved)
    for name in _reachable(schemas, shown) & of_specs:
        schemas[resolved(name)] = _written_out(_with_refs(schemas[name], resolved), name)
    for name, part in views.items():
        schemas[name] = _with_refs(part, resolved)


def _add_own_fields(schemas: Json) -> None:
    """Add what stands beside a posted spec, and is no part of the spec that comes back."""
    fields = schemas["JobClone"]["properties"]
    for spec in ("JobSpec", "StudySpec"):
        schemas[spec]["properties"] |= {name: dict(fields[name]) for name in ("name", "note")}


def _written_out(schema: Json, name: str) -> Json:
    schema.pop("examples", None)
    if "properties" in schema and name != "StudyBase":
        schema["required"] = [name for name in schema["properties"] if name not in LEFT_OUT]
    return schema


def _simplify(schema: Json, *, sent: bool) -> None:
    """Leave out titles that say a name again; say defaults in words, where something is `sent`: a
    common generator takes a field with a default for one that is always there, and another takes
    none that is an object. Write a word among a choice as a choice of one, and whole bounds without
    a point."""
    for part in _parts(schema):
        if isinstance(part.get("title"), str):
            del part["title"]
        for bound in _BOUNDS & part.keys():
            if isinstance(part[bound], float) and part[bound].is_integer():
                part[bound] = int(part[bound])
        for name, field in part.get("properties", {}).items():
            if isinstance(field, dict):
                _say_default(name, field, sent=sent)
                if field.get("type") == "null":  # by itself a common client takes it for no field
                    field |= {"type": ["null", "object"], "not": {"type": "object"}}
        for each in part.get("anyOf", ()):
            if isinstance(each.get("const"), str):
                each["enum"] = [each.pop("const")]


def _say_default(name: str, field: Json, *, sent: bool) -> None:
    default = field.pop("default", None)
    if sent and name not in {"kind", "action"} and default not in (None, {}, []):
        words = json.dumps(default, ensure_ascii=False)
        field["description"] = f"{field.get('description', '')} Default: `{words}`.".lstrip()
