"""Files that are really checked and stored, and specs that name them."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.artifacts.local import LocalStore
from core.ids import new_id
from core.specs.examples import REQUIRED
from core.specs.job import JobSpec
from core.specs.parsing.job import parse_job
from core.specs.sizes.uploads import UploadFacts
from core.specs.validation.limits import Limits
from core.uploads.check import STORED_NAME, check_file
from core.uploads.schema import Schema

Json = dict[str, Any]
EXAMPLE_ID: str = REQUIRED["dataset"]["id"]


@dataclass(frozen=True)
class Stored:
    """A file in a store, as the data set `EXAMPLE_ID`."""

    store: LocalStore
    facts: UploadFacts

    def spec(self, data: Json, **changes: Any) -> JobSpec:
        problem = {
            "kind": "supervised",
            "data": {"kind": "dataset", "id": EXAMPLE_ID, **data},
            "model": changes.pop("model", {"kind": "linear"}),
        }
        if "loss" in changes:
            loss = changes.pop("loss")
            problem["loss"] = {"kind": loss} if isinstance(loss, str) else loss
        body = {"problem": problem, "optimizer": {"kind": "sgd", "lr": 0.01}, **changes}
        return parse_job(json.dumps(body).encode(), Limits(), {EXAMPLE_ID: self.facts})


def stored(
    folder: Path, content: bytes, media_type: str = "text/csv", schema: Schema | None = None
) -> Stored:
    """Check a file and put it into a store in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "file"
    path.write_bytes(content)
    contents = check_file(path, media_type, folder / "checked", schema)
    store, name = LocalStore(folder / "artifacts"), new_id("file")
    store.job(name).adopt(STORED_NAME, folder / "checked" / STORED_NAME)
    return Stored(store, UploadFacts.of("ready", contents.kind, name, contents.to_json()))
