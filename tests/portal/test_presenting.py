import numpy as np
import pytest

from serving.client import AgeEstimate, Verification
from serving.portal.assessment.answers import FoundFace, PictureAnswer, Status
from serving.portal.web import presenting


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (0.0, "none of the comparisons that were tried"),
        (0.0001, "about 1 of 10,000 comparisons"),
        (0.01, "about 1 of 100 comparisons"),
        (0.5, "about 1 of 2 comparisons"),
        (0.83, "about 83 of 100 comparisons"),
    ],
)
def test_a_rate_in_words(rate, words):
    assert presenting.rate_in_words(rate) == words


def verification(distance, threshold):
    return Verification(
        cosine_distance=distance,
        euclidean_distance=0.0,
        is_match=distance <= threshold,
        threshold=threshold,
        model_version=1,
    )


@pytest.mark.parametrize(
    ("distance", "end", "here", "anchor"),
    [(0.0, 1.0, 10, "start"), (0.5, 1.0, 250, "middle"), (1.0, 1.0, 490, "end"), (1.5, 2.0, 370, "middle")],
)
def test_the_scale_of_distances_reaches_as_far_as_it_must(distance, end, here, anchor):
    scale = presenting._scale(verification(distance, 0.25))
    assert (scale["end"], scale["here"], scale["here_anchor"]) == (end, here, anchor)
    assert scale["limit"] == 10 + 480 * 0.25 / end
    assert scale["limit_width"] + scale["rest_width"] == 480


def age(**shares):
    probabilities = np.zeros(101)
    for years, share in shares.items():
        probabilities[int(years[1:])] = share
    return presenting._age(AgeEstimate(34.0, 28.0, 41.0, probabilities, model_version=1))


def test_the_distribution_of_ages_in_bars_of_five_years():
    shown = age(y0=0.1, y34=0.4, y30=0.2, y35=0.1, y100=0.2)
    assert {bar["from"]: round(bar["percent"]) for bar in shown["bars"] if bar["percent"]} == {
        0: 10,
        30: 60,
        35: 10,
        95: 20,
    }
    assert shown["bars"][-1]["to"] == 100
    highest = shown["bars"][6]
    assert (highest["y"], highest["tall"]) == pytest.approx((0.0, 62.0))
    assert shown["span"] == {"x": 56.0, "width": 26.0}
    assert "28 to 41 years; likeliest are 30 to 34 (60 %)" in shown["in_words"]


def tag(box, width=640, height=480):
    picture = PictureAnswer(Status.OK, width, height, ())
    return presenting._tag(FoundFace(box, 0.9, ()), picture)


def test_tags_of_boxes_stay_in_the_picture():
    middle = tag((300, 200, 360, 260))
    assert middle["tag_x"] == 300
    assert 100 < middle["tag_y"] < 200
    corner = tag((600, 5, 640, 60))
    assert corner["tag_x"] < 600
    assert corner["tag_y"] == 5
    assert tag((2, 2, 14, 14), 16, 16)["tag_x"] >= 0


def test_counts():
    assert presenting.counted(1, "face") == "1 face"
    assert presenting.counted(32, "face") == "32 faces"
