"""Which model another pipeline stands on."""

import pytest
from tfx.types import standard_artifacts

from components.blessed_model import LatestServableModelStrategy


def artifact(kind: type, number: int, **properties: int):
    made = kind()
    made.id = number
    for name, value in properties.items():
        made.set_int_custom_property(name, value)
    return made


def verdicts(kind: type, given: dict[int, int], first: int):
    return [
        artifact(kind, first + place, current_model_id=model, blessed=blessed)
        for place, (model, blessed) in enumerate(given.items())
    ]


@pytest.mark.parametrize(
    ("judged", "tried", "chosen"),
    [
        ({1: 1, 2: 1, 3: 1}, {1: 1, 2: 1, 3: 1}, 3),
        # Blessed by the Evaluator, but the model server did not answer as the model itself.
        ({1: 1, 2: 1, 3: 1}, {1: 1, 2: 1, 3: 0}, 2),
        ({1: 1, 2: 1, 3: 0}, {1: 1, 2: 0}, 1),
        # An older model that was judged again.
        ({1: 1, 3: 1}, {3: 1, 1: 1}, 1),
        ({1: 1, 2: 0}, {1: 0}, None),
        ({}, {}, None),
    ],
)
def test_the_latest_that_both_have_blessed(
    judged: dict[int, int], tried: dict[int, int], chosen: int | None
) -> None:
    found = LatestServableModelStrategy().resolve_artifacts(
        None,
        {
            "model": [artifact(standard_artifacts.Model, number) for number in (1, 2, 3)],
            "model_blessing": verdicts(standard_artifacts.ModelBlessing, judged, 10),
            "infra_blessing": verdicts(standard_artifacts.InfraBlessing, tried, 20),
        },
    )
    assert (found["model"][0].id if found else None) == chosen
    if found:
        for key in ("model_blessing", "infra_blessing"):
            assert found[key][0].get_int_custom_property("current_model_id") == chosen
