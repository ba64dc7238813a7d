"""Commands about the service itself: the catalogue, the workers, files to begin with."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from thalweg.cli.files import SCHEMA_LINE, FileError
from thalweg.cli.session import Function, Session, command

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
JOB: Final = """problem:
  kind: supervised
  data: {kind: builtin, name: digits, eval_fraction: 0.2}
  model: {kind: mlp, hidden: [64, 32]}
optimizer: {kind: adam, lr: 0.001}
batch_size: 64
budget: {max_steps: 1000}
"""
STUDY: Final = """base:
  problem:
    kind: supervised
    data: {kind: builtin, name: digits, eval_fraction: 0.2}
    model: {kind: mlp, hidden: [64, 32]}
  optimizer: {kind: adam}
  budget: {max_steps: 500}
sweep:
  optimizer.lr: {log: [0.0001, 0.1], count: 8}
repeats: 3
"""


def register(app: typer.Typer) -> None:
    """Register the commands about the service."""
    commands: dict[str, Function] = {
        "new": new,
        "catalog": catalog,
        "workers": workers,
        "usage": usage,
    }
    for name, function in commands.items():
        command(app, name, "Service")(function)
    command(app, "schema", "Service")(schema)


def families() -> list[str]:
    """List the families of the catalogue, for shells that complete."""
    return list(FAMILIES)


def catalog(
    session: Session,
    family: Annotated[
        str, typer.Argument(help="A family: " + ", ".join(FAMILIES), autocompletion=families)
    ],
    kind: Annotated[str, typer.Argument(metavar="[KIND]", help="One of its kinds.")] = "",
) -> None:
    """List what there is of a family, or the fields of one kind."""
    if family not in FAMILIES:
        from thalweg.errors import nearest

        near = nearest(family, FAMILIES)
        guess = f" Did you mean {near}?" if near else f" One of {', '.join(FAMILIES)}."
        raise typer.BadParameter(f"{family!r} is no family.{guess}")
    known: Any = family
    entries = session.client.catalog(known)
    if not kind:
        rows = [(each["kind"], each["summary"]) for each in entries]
        session.show(entries, lambda: session.table(("kind", "what it is"), rows))
        return
    entry = next((each for each in entries if each["kind"] == kind), None)
    if entry is None:
        from thalweg.errors import nearest

        near = nearest(kind, [each["kind"] for each in entries])
        guess = f" Did you mean {near}?" if near else ""
        raise typer.BadParameter(f"{kind!r} is none of the {family}.{guess}")
    fields = [
        (name, json.dumps(of.get("default")), of.get("description", ""))
        for name, of in entry["schema"].get("properties", {}).items()
        if name != "kind"
    ]
    session.show(entry, lambda: session.table(("field", "default", "what it is"), fields))


def workers(session: Session) -> None:
    """List the workers."""
    found = session.client.workers()
    rows = [(each["name"], " ".join(each["devices"]), each["current_job"]) for each in found]
    session.show(found, lambda: session.table(("worker", "devices", "current job"), rows))


def usage(
    session: Session,
    by: Annotated[str, typer.Option(help="key, or label:NAME.")] = "key",
    since: Annotated[str | None, typer.Option(help="A time, as 2026-11-01T00:00:00Z.")] = None,
) -> None:
    """Add up what jobs and studies have used."""
    found = session.client.usage(by, since)
    names = ("num_jobs", "num_studies", "device_s", "cpu_s", "stored_bytes")
    groups = [*found["data"], {**found["total"], "group": "total"}]
    rows = [(each["group"], *(each[name] for name in names)) for each in groups]
    session.show(found, lambda: session.table((by, *names), rows))


def schema_of(session: Session, what: str) -> dict[str, Any]:
    """Return the JSON Schema of a spec, cut from the service's OpenAPI document."""
    document = session.client.document()
    schemas = document["components"]["schemas"]
    root = {"job": "JobSpec", "study": "StudySpec"}[what]
    text = json.dumps({name: schemas[name] for name in schemas})
    definitions = json.loads(text.replace("#/components/schemas/", "#/$defs/"))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A {what} of Thalweg",
        "$ref": f"#/$defs/{root}",
        "$defs": _reachable(definitions, root),
    }


def _reachable(definitions: dict[str, Any], root: str) -> dict[str, Any]:
    import re

    found: dict[str, Any] = {}
    waiting = [root]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found[name] = definitions[name]
            waiting += re.findall(r"#/\$defs/(\w+)", json.dumps(definitions[name]))
    return dict(sorted(found.items()))


def schema(
    session: Session,
    what: Annotated[str, typer.Argument(metavar="job|study")] = "job",
) -> None:
    """Print the JSON Schema of the files that `submit` takes."""
    if what not in {"job", "study"}:
        raise typer.BadParameter(f"{what!r} is neither job nor study")
    print(json.dumps(schema_of(session, what), indent=1))


def new(
    session: Session,
    file: Annotated[Path, typer.Argument(help="The file to write, such as job.yaml.")],
    study: Annotated[bool, typer.Option("--study", help="A study, not a job.")] = False,
) -> None:
    """Write a file to begin with, and beside it the schema by which editors complete it."""
    what = "study" if study else "job"
    beside = file.with_name(f"thalweg-{what}.schema.json")
    if file.exists():
        raise FileError(f"{file} is there already")
    try:
        beside.write_text(json.dumps(schema_of(session, what)), encoding="utf-8")
        text = STUDY if study else JOB
        file.write_text(SCHEMA_LINE.format(name=beside.name) + text, encoding="utf-8")
    except OSError as error:
        raise FileError(f"{file} cannot be written: {error.strerror}") from error
    session.show({"path": str(file), "schema": str(beside)}, str(file))
