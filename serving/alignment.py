"""Turns, scales and moves a face so that its eyes, nose and mouth lie where a network expects them.

The places are those of ArcFace (Deng, Guo, Xue, Zafeiriou, CVPR 2019) as published with InsightFace; the
transform is the similarity of least squares (Umeyama, "Least-squares estimation of transformation parameters
between two point patterns", PAMI 13(4), 1991).

Coordinates are (x, y) in pixels, and (0, 0) is the middle of the pixel at the upper left, as the template has
them. The project's detection model counts from the edges of a picture, where the first pixel is from 0 to 1;
`in_pixels` and `cut_out` take what it answers, for training data, the command line and clients alike.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

SIDE = 112
TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Eyes, nose and corners of the mouth in a picture of 112x112, left before right as seen; float64 [5, 2]."""
TEMPLATE.setflags(write=False)
# From edges of pixels to their middles.
_TO_MIDDLE = -0.5
# Between the outermost landmarks of a face; of the smallest that detection models find, there are several.
_LEAST_PIXELS = 1.0


def in_pixels(keypoints: ArrayLike, width: int, height: int) -> np.ndarray:
    """Reads the points of faces in a detection model's answer for one picture.

    Args:
        keypoints: (y, x) as shares of the picture's height and width, [..., 2].
        width: Columns of the picture.
        height: Rows of the picture.

    Returns:
        (x, y) in pixels from the left and upper edge of the picture, float64 [..., 2].
    """
    return np.asarray(keypoints, dtype=np.float64)[..., ::-1] * (width, height)


def cut_out(rgb: np.ndarray, points: ArrayLike) -> Image.Image:
    """Cuts a face out of its picture, aligned by the five points that a detection model finds.

    Args:
        rgb: The picture, uint8 [H, W, 3].
        points: Eyes, nose and corners of the mouth, left before right as seen, in pixels from the edges of
            the picture, as `in_pixels` gives them; [5, 2].

    Returns:
        A picture of 112x112 pixels in RGB, or in grey (L) where the picture has no colour.

    Raises:
        ValueError: The points are not five finite points, or are all within one pixel.
    """
    return cut_from(as_image(rgb), points)


def as_image(rgb: np.ndarray) -> Image.Image:
    """Makes an image of pixels, as `cut_from` takes it for many faces of one picture.

    Args:
        rgb: The picture, uint8 [H, W, 3].

    Returns:
        The picture in RGB, or in grey (L) where it has no colour.
    """
    grey = (rgb == rgb[..., :1]).all()
    return Image.fromarray(rgb[..., 0] if grey else rgb)


def cut_from(image: Image.Image, points: ArrayLike) -> Image.Image:
    """Cuts out a face as `cut_out`, of an image that `as_image` made."""
    return align(image, np.asarray(points) + _TO_MIDDLE)


def align(image: Image.Image, landmarks: ArrayLike, side: int = SIDE) -> Image.Image:
    """Cuts out a face with its landmarks as near as possible to those of the template.

    Args:
        image: A picture in RGB or 8-bit grey.
        landmarks: Eyes, nose and corners of the mouth in it, left before right as seen; [5, 2].
        side: Side of the result in pixels; the template is scaled with it.

    Returns:
        A picture of side x side pixels in the mode of the image, black where the image does not reach.

    Raises:
        ValueError: The landmarks are not five finite points, or are all within one pixel.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != TEMPLATE.shape or not np.isfinite(points).all():
        raise ValueError(f"landmarks: expected 5 finite points (x, y), found {_shown(points)}")
    if np.ptp(points, axis=0).max() < _LEAST_PIXELS:
        # Rounding alone gives equal points a direction, and then one pixel would become a face.
        raise ValueError(f"landmarks: expected points that have a direction, found {_shown(points)}")
    # From the middles of pixels to their edges, which keep their places when a picture is scaled.
    points, target = points + 0.5, (TEMPLATE + 0.5) * (side / SIDE)
    scale = float(np.linalg.norm(similarity(points, target)[:, 0]))
    shrink = int(min(1.0 / scale, *image.size))
    if shrink > 1:
        # Sampled at a few places of many, small pictures of large faces would flicker.
        image, points = image.reduce(shrink), points / shrink
    back = similarity(points, target)
    inverse = np.linalg.inv(np.vstack([back, (0.0, 0.0, 1.0)]))[:2]
    return image.transform(
        (side, side), Image.Transform.AFFINE, tuple(inverse.ravel()), Image.Resampling.BICUBIC
    )


def crop(image: Image.Image, box: Sequence[int], side: int = SIDE) -> Image.Image:
    """Cuts out a face whose place is known, without turning it.

    Args:
        image: A picture in RGB or 8-bit grey.
        box: Left, top, width and height in pixels, inside of the picture.
        side: Side of the result in pixels.

    Returns:
        A picture of side x side pixels in the mode of the image.
    """
    left, top, width, height = box
    corners = (left, top, left + width, top + height)
    return image.resize((side, side), Image.Resampling.BICUBIC, box=corners)


def similarity(points: ArrayLike, target: ArrayLike) -> np.ndarray:
    """Finds the rotation, scale and shift, without mirroring, that bring points nearest to others.

    Args:
        points: Where points are, [n, 2] with n of 2 or more.
        target: Where they should be, [n, 2].

    Returns:
        The matrix that takes (x, y, 1) to the new (x, y), float64 [2, 3].

    Raises:
        ValueError: All points are at one place, or no turn of them is nearer to the target than another.
    """
    source, goal = (_complex(each) for each in (points, target))
    centre, middle = source.mean(), goal.mean()
    spread = np.vdot(source - centre, source - centre).real
    # In the plane, Umeyama's solution is one complex number that turns and scales.
    turn = np.vdot(source - centre, goal - middle) / spread if spread > 0.0 else 0.0
    if not abs(turn) > 0.0:
        raise ValueError(f"landmarks: expected points that have a direction, found {source.tolist()}")
    shift = middle - turn * centre
    return np.array([(turn.real, -turn.imag, shift.real), (turn.imag, turn.real, shift.imag)])


def _complex(points: ArrayLike) -> np.ndarray:
    pairs = np.asarray(points, dtype=np.float64)
    return pairs[:, 0] + 1j * pairs[:, 1]


def _shown(points: np.ndarray) -> str:
    return f"shape {points.shape}" if points.shape != TEMPLATE.shape else f"{points.tolist()}"
