"""What may stand at a place of a path; anything else is no path of this service (404)."""

from starlette.convertors import StringConvertor, register_url_convertor


class IdConvertor(StringConvertor):
    """Any one part of a path but the words that are calls of their own beside the ids."""

    regex = r"(?!validate(?:/|$))[^/]+"


class AssetConvertor(StringConvertor):
    """The documentation page's files."""

    regex = r"swagger-ui-bundle\.js|swagger-ui\.css|favicon\.png"


def register() -> None:
    """Make both known by name (`{job_id:id}`); Starlette keeps one table for the process."""
    register_url_convertor("id", IdConvertor())
    register_url_convertor("asset", AssetConvertor())


register()
