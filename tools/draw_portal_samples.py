"""Draws the pictures that the portal offers to try: `python tools/draw_portal_samples.py [FOLDER]`.

Drawn people before drawn walls, each made of a seed, so that the same files come out again. The seeds are
chosen by what the demo's models say: every face is found, the woman is known again, and the others are told
from her.
"""

import math
import random
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

from components.samples.faces import Face, paint_face, random_face, random_identity
from components.samples.pen import Colour, darker, mix

SIZE = (640, 480)
FOLDER = Path(__file__).parents[1] / "serving" / "portal" / "static" / "portal" / "samples"

_QUALITY = 85
_OVERSIZE = 2
# In head coordinates (half a head is 1), as `paint_face` paints: the middle of a square is that of the head.
_SQUARE = 5.0
_SHOULDERS, _SHOULDERS_TOP, _CHEST = 1.35, 1.6, 2.3
_WHITE: Colour = (255, 255, 255)


@dataclass(frozen=True)
class Person:
    """Somebody in a picture.

    Attributes:
        seed: Who it is: face, hair, skin.
        gender: 'male' or 'female'.
        age: Years.
        expression: One of the seven.
        middle: Of the head, pixels.
        unit: Half the height of the head, pixels.
        clothes: Their colour.
        roll: Head tilted clockwise, degrees.
        turn: Features moved to the right, as when the head turns; -0.1 to 0.1.
    """

    seed: int
    gender: str
    age: float
    expression: str
    middle: tuple[int, int]
    unit: float
    clothes: Colour
    roll: float = 0.0
    turn: float = 0.0


@dataclass(frozen=True)
class Scene:
    """A picture.

    Attributes:
        wall: Colour.
        floor: Colour of what is before the wall below; None for the wall alone.
        persons: The far ones first.
        things: Of `_THINGS`, what hangs and stands there.
    """

    wall: Colour
    floor: Colour | None = None
    persons: tuple[Person, ...] = ()
    things: tuple[str, ...] = ()


_ANN = 3
SCENES = {
    "group": Scene(
        wall=(196, 206, 198),
        things=("window",),
        persons=(
            Person(2, "male", 68, "neutral", (96, 216), 62, (84, 98, 112), roll=2.0),
            Person(21, "female", 34, "happy", (248, 252), 64, (170, 92, 88), roll=-4.0),
            Person(17, "male", 30, "surprise", (404, 226), 63, (62, 108, 128), roll=3.0),
            Person(23, "female", 8, "happy", (546, 300), 56, (214, 170, 84), roll=-2.0),
        ),
    ),
    "pair": Scene(
        wall=(214, 200, 184),
        things=("picture",),
        persons=(
            Person(79, "male", 45, "happy", (200, 240), 96, (70, 92, 84), roll=4.0, turn=0.03),
            Person(73, "female", 41, "sad", (440, 262), 90, (96, 84, 132), roll=-5.0, turn=-0.03),
        ),
    ),
    "ann-1": Scene(
        wall=(186, 200, 216),
        persons=(Person(_ANN, "female", 27, "neutral", (320, 236), 138, (150, 76, 90)),),
    ),
    "ann-2": Scene(
        wall=(206, 196, 170),
        things=("window",),
        persons=(Person(_ANN, "female", 29, "happy", (252, 250), 104, (58, 96, 104), roll=6.0, turn=0.03),),
    ),
    "bob": Scene(
        wall=(200, 190, 204),
        persons=(Person(100, "male", 56, "angry", (326, 238), 132, (74, 82, 96), roll=-3.0),),
    ),
    "room": Scene(
        wall=(204, 212, 204),
        floor=(158, 124, 96),
        things=("window", "picture", "lamp", "table"),
    ),
}


def draw(scene: Scene) -> Image.Image:
    """Draws a picture of SIZE pixels, RGB."""
    picture = _wall(scene)
    for person in scene.persons:
        _paint(picture, person)
    return picture


def _wall(scene: Scene) -> Image.Image:
    width, height = (side * _OVERSIZE for side in SIZE)
    light = Image.linear_gradient("L").resize((width, height))
    picture = Image.new("RGB", (width, height), mix(scene.wall, _WHITE, 0.25))
    picture.paste(darker(scene.wall, 0.85), (0, 0), light)
    pen = ImageDraw.Draw(picture)
    if scene.floor is not None:
        _floor(pen, scene.floor, width, height)
    for thing in scene.things:
        _THINGS[thing](pen)
    return picture.reduce(_OVERSIZE)


def _paint(picture: Image.Image, person: Person) -> None:
    face = _face(person)
    (x, y), unit = person.middle, person.unit
    ImageDraw.Draw(picture).polygon(_trunk(person), fill=face.clothes)
    side = round(_SQUARE * unit)
    paint_face(picture, face, (round(x - side / 2), round(y - side / 2)), side)


def _trunk(person: Person) -> list[tuple[float, float]]:
    """What goes on below the shoulders that come with a face, down to the edge of the picture."""
    (x, y), unit, roll = person.middle, person.unit, math.radians(person.roll)

    def place(across: float, down: float) -> tuple[float, float]:
        sideways = across * math.cos(roll) - down * math.sin(roll)
        downwards = across * math.sin(roll) + down * math.cos(roll)
        return x + unit * sideways, y + unit * downwards

    left, right = place(-_SHOULDERS, _CHEST), place(_SHOULDERS, _CHEST)
    shoulders = place(_SHOULDERS, _SHOULDERS_TOP), place(-_SHOULDERS, _SHOULDERS_TOP)
    return [left, (left[0], SIZE[1]), (right[0], SIZE[1]), right, *shoulders]


def _face(person: Person) -> Face:
    identity = random_identity(random.Random(f"portal/{person.seed}"), person.gender)
    side = round(_SQUARE * person.unit)
    # What is not named is of no account in a picture that is lit evenly.
    drawn = random_face(random.Random(person.seed), identity, person.age, person.expression, 0.95)
    return Face(
        identity=identity,
        age=person.age,
        expression=person.expression,
        intensity=drawn.intensity,
        roll=person.roll,
        turn=person.turn,
        scale=2.0 * person.unit / side,
        clothes=person.clothes,
        seed=drawn.seed,
    )


# ---- things, in pixels of the oversized picture


def _floor(pen: ImageDraw.ImageDraw, colour: Colour, width: int, height: int) -> None:
    top = round(height * 0.78)
    pen.rectangle((0, top, width, height), fill=colour)
    pen.rectangle((0, top - 18, width, top), fill=mix(colour, _WHITE, 0.6))
    for x in range(-width, 2 * width, 150):
        pen.line((width // 2 + (x - width // 2) // 2, top, x, height), fill=darker(colour, 0.88), width=4)


def _window(pen: ImageDraw.ImageDraw) -> None:
    frame, sky, hill = (244, 243, 238), (176, 212, 236), (136, 172, 128)
    pen.rounded_rectangle((760, 60, 1180, 500), 10, fill=frame)
    for left in (784, 980):
        pen.rectangle((left, 84, left + 176, 476), fill=sky)
        pen.polygon([(left, 400), (left + 176, 350), (left + 176, 476), (left, 476)], fill=hill)
    pen.rectangle((744, 496, 1196, 520), fill=darker(frame, 0.9))


def _picture(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle((480, 70, 720, 250), fill=(112, 88, 66))
    pen.rectangle((496, 86, 704, 234), fill=(238, 230, 212))
    pen.polygon([(496, 234), (570, 130), (630, 200), (660, 170), (704, 234)], fill=(112, 146, 150))
    pen.polygon([(496, 234), (600, 186), (704, 234)], fill=(88, 118, 110))


def _lamp(pen: ImageDraw.ImageDraw) -> None:
    pen.rectangle((234, 360, 246, 780), fill=(84, 78, 74))
    pen.polygon([(180, 380), (300, 380), (270, 250), (210, 250)], fill=(236, 206, 146))
    pen.rounded_rectangle((190, 770, 290, 792), 10, fill=(84, 78, 74))


def _table(pen: ImageDraw.ImageDraw) -> None:
    wood = (134, 96, 66)
    pen.rectangle((470, 640, 490, 860), fill=darker(wood, 0.8))
    pen.rectangle((870, 640, 890, 860), fill=darker(wood, 0.8))
    pen.rounded_rectangle((440, 616, 920, 648), 8, fill=wood)
    pen.polygon([(640, 616), (720, 616), (708, 540), (652, 540)], fill=(176, 96, 76))
    for x, y in ((680, 430), (640, 470), (722, 468), (660, 500), (704, 506)):
        pen.line((680, 545, x, y), fill=(76, 112, 70), width=6)
        pen.ellipse((x - 22, y - 30, x + 22, y + 24), fill=(104, 150, 92))


_THINGS = {"window": _window, "picture": _picture, "lamp": _lamp, "table": _table}


def main(folder: Path = FOLDER) -> None:
    """Writes the pictures as JPEG files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, scene in SCENES.items():
        draw(scene).save(folder / f"{name}.jpg", quality=_QUALITY, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
