"""What is wrong with a query parameter is said in words."""

from typing import Any, get_args

import pytest
from pydantic import ValidationError

from api.http import queries
from api.http.queries import Query
from tests.api.actors import Api

MODELS = sorted(
    (each for each in vars(queries).values() if isinstance(each, type) and issubclass(each, Query)),
    key=lambda model: model.__name__,
)
FIELDS = [
    pytest.param(model, field.alias or name, field.annotation, id=f"{model.__name__}-{name}")
    for model in MODELS
    for name, field in model.model_fields.items()
]
MISTAKEN = ["", "~", "x" * 10_000, "job_1", "\n", "1e", "٣"]


@pytest.mark.parametrize(("model", "name", "annotation"), FIELDS)
@pytest.mark.parametrize("value", MISTAKEN, ids=lambda value: repr(value)[:12])
def test_no_refusal_shows_a_regular_expression(
    model: type[Query], name: str, annotation: Any, value: str
) -> None:
    parts = {annotation, *get_args(annotation)}
    is_list = any(getattr(part, "__origin__", part) is list for part in parts)
    messages: list[str] = []
    try:
        model.model_validate({name: [value] if is_list else value})
    except ValidationError as error:
        messages = [each["msg"] for each in error.errors()]
    assert not any("pattern" in each for each in messages)


def test_a_parameter_that_is_given_too_often_is_told_with_both_numbers(api: Api) -> None:
    paths = api.http.get("/openapi.json").json()["paths"]
    lists = {
        (method, path, each["name"]): each["schema"]
        for path, calls in paths.items()
        for method, call in calls.items()
        for each in call.get("parameters", ())
        if each["in"] == "query" and each["schema"].get("type") == "array"
    }
    assert {name for _, _, name in lists} == {"job", "label", "status"}
    for (method, path, name), schema in lists.items():
        most = schema["maxItems"]
        value = schema["items"].get("enum", ["team:vision"])[0]
        place = path.translate({ord("{"): None, ord("}"): None})
        reply = api.http.request(method, place, params={name: [value] * (most + 1)})
        (error,) = reply.json()["errors"]
        assert (reply.status_code, error["param"], error["code"]) == (422, name, "too_long")
        said = f"{name}: may be given at most {most} times; it was given {most + 1} times."
        assert error["message"] == said
