import io
import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from serving.portal.assessment.pictures import receive
from serving.portal.web.samples import SAMPLES

TOOL = Path(__file__).parents[2] / "tools" / "draw_portal_samples.py"
MOST_BYTES = 60_000


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(TOOL))


def test_there_are_samples_of_different_names():
    assert len({sample.name for sample in SAMPLES}) == len(SAMPLES) == 6
    assert len({sample.title for sample in SAMPLES}) == 6


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda each: each.name)
def test_samples_come_through_the_door_and_are_small(sample):
    assert len(sample.read()) < MOST_BYTES
    assert receive(sample.read()).rgb.size == (640, 480)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda each: each.name)
def test_samples_are_those_that_the_tool_draws(tool, sample):
    drawn = np.asarray(tool["draw"](tool["SCENES"][sample.name]), np.float32)
    kept = np.asarray(Image.open(io.BytesIO(sample.read())), np.float32)
    # JPEG loses a little.
    assert np.abs(drawn - kept).mean() < 3.0


def test_two_show_one_person(tool):
    scenes = tool["SCENES"]
    [first], [second] = scenes["ann-1"].persons, scenes["ann-2"].persons
    assert tool["_face"](first).identity == tool["_face"](second).identity
    [other] = scenes["bob"].persons
    assert tool["_face"](other).identity != tool["_face"](first).identity
