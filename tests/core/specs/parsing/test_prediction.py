"""The body of a prediction: what is wrong is said of what was sent."""

import pytest

from core.errors import InvalidInputError
from core.specs.parsing.prediction import PredictionRequest, parse_prediction_request


@pytest.mark.parametrize("name", PredictionRequest.model_fields)
def test_a_name_that_stands_twice_is_said_to(name: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_prediction_request(f'{{"{name}": null, "{name}": null}}'.encode())
    (found,) = [each for each in refused.value.errors if each.code == "duplicate_field"]
    assert found.param == name
    assert found.message == f"the name '{name}' stands twice in one object"


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        ('{"features": 5}', "features", "a list of rows; 5 was given"),
        ('{"features": []}', "features", "no rows"),
        ('{"features": [[1]], "checkpoint": "last"}', "checkpoint", '"last" was given'),
        ('{"features": [[1]], "rows": 1}', "rows", "is not a field here"),
        ("{}", "features", "is required"),
        ('{"targets": [1], "dataset": "data_0000000000000000000000000a"}', "targets", "features"),
    ],
)
def test_a_mistake_is_told_with_what_was_given(body: str, param: str, words: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_prediction_request(body.encode())
    assert refused.value.errors[0].param == param
    assert words in refused.value.errors[0].message
