"""Conversion of a data set's record to the JSON that the contract shows."""

from api.datasets.schemas import Dataset, DatasetLinks
from api.http.schemas import LEFT_OUT, RefusalView
from api.services.dependencies import Services
from core.datasets import DatasetRecord
from core.specs.base import Json
from core.specs.validation.uploads.doubts import doubts_of_columns
from core.uploads.contents import Column


def dataset_json(services: Services, record: DatasetRecord) -> Json:
    """Make the contract's JSON of a data set."""
    path = f"{services.root}/v1/datasets/{record.id}"
    contents = record.contents or {}
    return Dataset.build(
        record,
        num_rows=contents.get("num_rows"),
        columns=columns_of(record),
        error=record.error and RefusalView.build(record.error),
        warnings=doubts_of_columns(record.facts) or LEFT_OUT,
        links=DatasetLinks.build(self=path, preview=f"{path}/preview"),
    )


def columns_of(record: DatasetRecord) -> list[Column]:
    """Return its columns, of which replies make theirs; none while they are not known."""
    return [Column.from_json(each) for each in (record.contents or {}).get("columns", ())]
