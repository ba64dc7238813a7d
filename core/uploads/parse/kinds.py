"""Readers of media types. Each brings its own libraries, so it is imported when it is needed."""

from pathlib import Path

from core.uploads.contents import MEDIA_TYPES, Contents, RefusedFile
from core.uploads.schema import Schema
from core.uploads.tables.table import TableSource, store_table


def parse(media_type: str, path: Path, schema: Schema, work: Path, target: Path) -> Contents:
    """Parse a file and write its stored form at `target`; `work` is a folder for what is temporary.

    Raises:
        RefusedFile: the file breaks a rule.
    """
    match MEDIA_TYPES[media_type]:
        case "table":
            return store_table(_table(media_type, path, schema), schema, work, target)
        case "arrays":
            from core.uploads.parse.npz_file import store_arrays

            _without(schema, "an NPZ file", but_columns=True)
            return store_arrays(path, schema, work, target)
        case "text":
            from core.uploads.parse.text_file import store_text

            _without(schema, "a text")
            return store_text(path, target)
        case "images":
            from core.uploads.parse.zip_file import store_images

            _without(schema, "a zip of images")
            return store_images(path, target)
        case "weights":
            from core.uploads.parse.weights_file import store_weights

            _without(schema, "a file of weights")
            return store_weights(path, target)


def _table(media_type: str, path: Path, schema: Schema) -> TableSource:
    match media_type:
        case "text/csv":
            from core.uploads.parse.csv_file import CsvFile

            return CsvFile(path, schema)
        case "application/x-ndjson":
            from core.uploads.parse.ndjson_file import NdjsonFile

            _without_csv_options(schema, "an NDJSON file")
            return NdjsonFile(path, schema)
        case _:
            from core.uploads.parse.parquet_file import ParquetFile

            _without_csv_options(schema, "a Parquet file")
            return ParquetFile(path, schema)


def _without_csv_options(schema: Schema, what: str) -> None:
    options = schema.delimiter != "," or schema.decimal != "." or schema.header is not None
    if options:
        raise RefusedFile(
            "wrong_schema",
            f"The schema has a delimiter, a decimal sign or a header, which {what} has not. Leave"
            " them out.",
        )


def _without(schema: Schema, what: str, but_columns: bool = False) -> None:
    _without_csv_options(schema, what)
    if schema.missing is not None or (schema.dtypes and not but_columns):
        kept = " but kinds of columns" if but_columns else ""
        raise RefusedFile(
            "wrong_schema", f"{what.capitalize()} takes no schema{kept}. Leave it out."
        )
