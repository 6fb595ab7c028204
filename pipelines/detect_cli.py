"""The `hexaface detect` command: the faces of pictures, as lines, as JSON and drawn into copies."""

import dataclasses
import io
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.console import Console

from data_validation.errors import InputError
from pipelines.cli_options import EXIT_BAD_INPUT, EXIT_FAILED, WorkspaceOption
from pipelines.pictures import SUFFIXES, pictures_in, progress, read_file, upright
from pipelines.pushed_model import described
from pipelines.whole_files import write_whole

if TYPE_CHECKING:
    from components.face_finder import Face
    from pipelines.detector import Detector
    from trainers.cascade import CascadeSettings

console = Console()
errors = Console(stderr=True)

_STDOUT = Path("-")
_DRAWN = ".faces"
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}
_JPEG_QUALITY = 92


class _Picture(NamedTuple):
    """A picture file to look at; `named` if it was given itself, else `relative` to the folder given."""

    path: Path
    relative: Path
    named: bool


class _Found(NamedTuple):
    """What a picture shows; width and height are of the upright picture."""

    path: Path
    width: int
    height: int
    faces: list["Face"]


def detect(
    images: Annotated[
        list[Path],
        typer.Argument(
            metavar="IMAGE", help="JPEG, PNG or GIF files, or folders of such, with all folders in them."
        ),
    ],
    json_file: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write boxes, scores and landmarks; - for stdout."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", metavar="DIR", help="Draw the faces into copies, <name>.faces.jpg in DIR."),
    ] = None,
    min_face: Annotated[
        float | None,
        typer.Option(help="Side of the smallest faces looked for, pixels, 10 or more; without, the model's."),
    ] = None,
    factor: Annotated[
        float | None,
        typer.Option(help="Ratio of two steps of the image pyramid, 0.5 to 0.85; without, the model's."),
    ] = None,
    thresholds: Annotated[
        str,
        typer.Option(
            metavar="A,B,C", help="Scores to pass the three networks, 0 to 1 each; without, the model's."
        ),
    ] = "",
    workspace: WorkspaceOption = None,
) -> None:
    """Find faces in pictures, with the newest pushed detection model.

    Pictures are turned as their EXIF data says; places are in pixels of the upright picture. What cannot be
    read is told, and the others go on: exit code 2 if it was named, 1 if it was found in a folder.
    """
    pictures = _listed(images)
    drawings = _drawings(pictures, output)
    _check_places(pictures, drawings, json_file)
    given = _given(min_face, factor, thresholds)
    from pipelines.detector import load_detector
    from pipelines.settings import Workspace

    detector = load_detector(Workspace.at(workspace))
    settings = _settings(detector.settings, given)
    found: list[_Found] = []
    exit_code = 0
    with progress(len(pictures), errors) as advance:
        for picture, drawing in zip(pictures, drawings, strict=True):
            try:
                found.append(_look(picture.path, drawing, detector, settings))
            except InputError as error:
                _complain(error)
                exit_code = max(exit_code, EXIT_BAD_INPUT if picture.named else EXIT_FAILED)
            advance(1)
    if json_file is not None:
        _write_json(json_file, _as_json(found, detector, settings))
    if json_file != _STDOUT:
        _say(*(f"{each.path}: {_count(len(each.faces), 'face')}" for each in found))
        _say(_summary(found, detector, settings))
    raise typer.Exit(exit_code)


# ---- what is given


def _listed(paths: Sequence[Path]) -> list[_Picture]:
    """Returns files as they are and the pictures in folders, each once."""
    listed: dict[str, _Picture] = {}
    for path in paths:
        if not path.is_dir():
            listed.setdefault(_real(path), _Picture(path, Path(path.name), True))
            continue
        # Not the drawings of an earlier command.
        inside = [file for file in pictures_in(path) if not file.stem.endswith(_DRAWN)]
        if not inside:
            raise InputError(f"{path}: expected images ({', '.join(SUFFIXES)}), found none")
        for file in inside:
            listed.setdefault(_real(file), _Picture(file, file.relative_to(path), False))
    return list(listed.values())


def _real(path: Path) -> str:
    """Follows links; unlike `Path.resolve`, it takes those that lead in a circle for files, too."""
    return os.path.realpath(path)


def _drawings(pictures: Sequence[_Picture], output: Path | None) -> list[Path | None]:
    """Returns where the drawing of each picture goes, None for nowhere."""
    if output is None:
        return [None] * len(pictures)
    return [output / picture.relative.with_name(_drawn_name(picture.relative)) for picture in pictures]


def _drawn_name(path: Path) -> str:
    if path.suffix.lower() in _FORMATS:
        return f"{path.stem}{_DRAWN}{path.suffix}"
    return f"{path.name}{_DRAWN}.png"


def _check_places(
    pictures: Sequence[_Picture], drawings: Sequence[Path | None], json_file: Path | None
) -> None:
    """Refuses places where something would be lost, before anything is looked at."""
    taken = {_real(picture.path): picture.path for picture in pictures}
    if json_file is not None and json_file != _STDOUT:
        # Whoever takes --json for a switch names a picture behind it.
        is_picture = json_file.suffix.lower() in SUFFIXES or _real(json_file) in taken
        if is_picture or json_file.is_dir():
            raise InputError(f"--json {json_file}: expected a file for JSON, such as faces.json, or -")
    for picture, drawing in zip(pictures, drawings, strict=True):
        if drawing and taken.setdefault(_real(drawing), picture.path) is not picture.path:
            raise InputError(
                f"--output: expected a place of its own for {picture.path}, found {drawing}, which is that "
                f"of {taken[_real(drawing)]}"
            )


def _given(min_face: float | None, factor: float | None, thresholds: str) -> dict[str, Any]:
    """Returns the settings that were given."""
    given: dict[str, Any] = {}
    if min_face is not None:
        if math.isinf(min_face):
            raise InputError(f"--min-face {min_face}: expected a finite number")
        given["min_face"] = min_face
    if factor is not None:
        given["factor"] = factor
    if thresholds:
        try:
            given["thresholds"] = tuple(float(one) for one in thresholds.split(","))
        except ValueError as error:
            raise InputError(
                f"--thresholds {thresholds}: expected three numbers, as in 0.6,0.7,0.7"
            ) from error
    return given


def _settings(own: "CascadeSettings", given: dict[str, Any]) -> "CascadeSettings":
    try:
        return dataclasses.replace(own, **given)
    except ValueError as error:
        # It begins with the name of the setting.
        name, problem = str(error).split(":", 1)
        raise InputError(f"--{name.replace('_', '-')}:{problem}") from error


# ---- what is done


def _look(file: Path, drawing: Path | None, detector: "Detector", settings: "CascadeSettings") -> _Found:
    """Finds the faces of a file, and draws them if there is a place for that."""
    from pipelines.face_drawing import draw_faces

    image = upright(read_file(file), str(file))
    faces = detector.find(image, str(file), settings)
    if drawing:
        buffer = io.BytesIO()
        form = _FORMATS[drawing.suffix.lower()]
        draw_faces(image, faces).save(buffer, form, quality=_JPEG_QUALITY)
        write_whole(drawing, buffer.getvalue())
    return _Found(file, image.width, image.height, faces)


# ---- what is told


def _as_json(found: Sequence[_Found], detector: "Detector", settings: "CascadeSettings") -> dict[str, object]:
    return {
        "model": detector.version,
        "trained_on": detector.source,
        "settings": dataclasses.asdict(settings) | {"longest_side": detector.longest_side},
        "images": [
            {
                "image": str(each.path),
                "width": each.width,
                "height": each.height,
                "faces": [_face(face) for face in each.faces],
            }
            for each in found
        ],
    }


def _face(face: "Face") -> dict[str, object]:
    from pipelines.detector import LANDMARKS

    left, top, right, bottom = face.box
    box = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    return {
        "box": {name: round(value, 2) for name, value in box.items()},
        "score": round(face.score, 4),
        "landmarks": {
            name: [round(value, 2) for value in point]
            for name, point in zip(LANDMARKS, face.points.tolist(), strict=True)
        },
    }


def _write_json(file: Path, answer: dict[str, object]) -> None:
    text = json.dumps(answer, indent=2)
    if file == _STDOUT:
        typer.echo(text)
    else:
        write_whole(file, (text + "\n").encode())


def _summary(found: Sequence[_Found], detector: "Detector", settings: "CascadeSettings") -> str:
    thresholds = ", ".join(f"{value:g}" for value in settings.thresholds)
    return (
        f"{_count(len(found), 'image')}, {_count(sum(len(each.faces) for each in found), 'face')}; "
        f"{described(detector.version, detector.source)}; faces from {settings.min_face:g} pixels, "
        f"factor {settings.factor:g}, thresholds {thresholds}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _say(*lines: str) -> None:
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _complain(error: InputError) -> None:
    errors.print(f"error: {error}", style="red", highlight=False, soft_wrap=True, markup=False)
