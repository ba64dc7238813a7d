"""Checkpoints of other formats: what is read, what is begun anew, and what is said of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.artifacts.base import JobArtifacts
from core.errors import ArtifactError
from core.formats import OLD_VALUES, RESUME, STORE, WEIGHTS
from core.train.checkpoint.snapshot import decode, fingerprint, resume_points
from core.train.measure.measure import measure_checkpoint
from tests.core.train.harness import blobs_job, train

Json = dict[str, Any]


def rewrite(artifacts: JobArtifacts, name: str, change: Callable[[Json], object]) -> None:
    """Change the metadata in a safetensors file's header."""
    data = artifacts.read(name)
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    change(header["__metadata__"])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    artifacts.write(name, [len(text).to_bytes(8, "little"), text, data[end:]])


def metadata(artifacts: JobArtifacts, name: str) -> Json:
    found: Json = {}
    rewrite(artifacts, name, found.update)
    return found


def test_every_file_carries_its_format(tmp_path: Path) -> None:
    artifacts = train(blobs_job({"kind": "adam"}), tmp_path).artifacts
    resume = metadata(artifacts, resume_points(artifacts)[0])
    assert (resume["thalweg_resume"], resume["spec_format"]) == (str(RESUME), str(STORE))
    for name in ("initial", "final"):
        found = metadata(artifacts, f"{name}.safetensors")
        assert found["thalweg_weights"] == str(WEIGHTS)


def test_a_checkpoint_from_before_the_numbers_is_gone_on_from(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, checkpoint={"every_steps": 5})
    whole = train(spec, tmp_path)
    for name in resume_points(whole.artifacts):
        rewrite(
            whole.artifacts,
            name,
            lambda found: (found.pop("spec_format"), found.update(spec=fingerprint(spec, 1))),
        )
    again = train(spec, tmp_path, resume=True, stored_rows={"train": 10, "eval": 3})
    assert again.events.batches[0][:2] == ("train", 10)
    assert again.events.restarts == []


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("thalweg_resume", str(RESUME + 1), f"of format {RESUME + 1}; this version reads formats"),
        ("thalweg_resume", "soon", "of the format 'soon', which is no number"),
        ("spec_format", "soon", "of the format 'soon', which is no number"),
        ("spec", "0" * 64, "belongs to another spec"),
        ("sha256", "0" * 64, "its checksum does not hold"),
    ],
)
def test_one_that_cannot_be_read_is_told_and_training_begins_at_step_0(
    tmp_path: Path, field: str, value: str, why: str
) -> None:
    spec = blobs_job({"kind": "adam"}, checkpoint={"every_steps": 5})
    whole = train(spec, tmp_path)
    names = resume_points(whole.artifacts)
    for name in names:
        rewrite(whole.artifacts, name, lambda found: found.update({field: value}))
    again = train(spec, tmp_path, resume=True)
    assert again.events.batches[0][:2] == ("train", 0)
    assert again.events.histories == whole.events.histories
    (told,) = again.events.restarts
    assert told.startswith(f"from step 0: {names[0]} cannot be read (")
    assert why in told
    assert told.endswith(f"), nor {len(names) - 1} earlier")


def test_the_latest_that_can_be_read_is_gone_on_from(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"}, checkpoint={"every_steps": 5})
    artifacts = train(spec, tmp_path).artifacts
    latest = resume_points(artifacts)[0]
    artifacts.write(latest, [artifacts.read(latest)[:100]])
    (told,) = train(spec, tmp_path, resume=True).events.restarts
    assert told.startswith(f"from step 10: {latest} cannot be read (not a whole safetensors file")


def test_a_field_that_came_later_leaves_an_old_checkpoint_readable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = blobs_job({"kind": "adam"}, checkpoint={"every_steps": 5})
    artifacts = train(spec, tmp_path).artifacts
    name = resume_points(artifacts)[0]
    # As if `amsgrad` had come with the next format, and the checkpoint's spec had lacked it.
    monkeypatch.setitem(OLD_VALUES, STORE + 1, {"optimizer[adam].amsgrad": False})
    before = fingerprint(spec, STORE)
    assert before != fingerprint(spec, STORE + 1)
    rewrite(artifacts, name, lambda found: found.update({"spec": before}))
    assert decode(artifacts.read(name), spec, "cpu").step == 12


def test_weights_of_a_newer_format_are_not_measured(tmp_path: Path) -> None:
    spec = blobs_job({"kind": "adam"})
    artifacts = train(spec, tmp_path).artifacts
    newer = {"thalweg_weights": str(WEIGHTS + 1)}
    rewrite(artifacts, "final.safetensors", lambda found: found.update(newer))
    with pytest.raises(ArtifactError, match=f"weights of format {WEIGHTS + 1}"):
        measure_checkpoint(spec, artifacts, "final")
