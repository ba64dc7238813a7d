"""Forms of what may stand at a place of a path; anything else is no path of this service (404)."""

from starlette.convertors import Convertor, StringConvertor, register_url_convertor


class IdConvertor(StringConvertor):
    """Any one part of a path but the words that are calls of their own beside the ids."""

    regex = r"(?!validate(?:/|$))[^/]+"


class IndexConvertor(Convertor[int]):
    """A run's index, written in one way only."""

    regex = r"0|[1-9][0-9]{0,14}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


class AssetConvertor(StringConvertor):
    """The documentation page's files."""

    regex = r"swagger-ui-bundle\.js|swagger-ui\.css|favicon\.png"


def register() -> None:
    """Make the convertors known by name (`{job_id:id}`); Starlette keeps one table for the
    process."""
    register_url_convertor("id", IdConvertor())
    register_url_convertor("index", IndexConvertor())
    register_url_convertor("asset", AssetConvertor())


register()
