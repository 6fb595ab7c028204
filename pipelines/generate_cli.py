"""The `hexaface generate` command: faces of persons who do not exist, as a sheet, as files, as a film."""

import math
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console

from data_validation.errors import InputError
from pipelines.cli_options import WorkspaceOption

if TYPE_CHECKING:
    import numpy as np

    from pipelines.generator import Generator

console = Console()

MAX_COUNT = 1000
# More could not be looked at while they move, and are large files.
_MAX_MOVING = 64
_MAX_SCALE = 16
_MAX_SEED = 2**63 - 1
# As random seeds are to be typed again.
_RANDOM_SEEDS = 2**31
_STEPS = 24


class _Places(NamedTuple):
    """What is to be written; None for what is not."""

    grid: Path | None
    output: Path | None
    gif: Path | None


def generate(
    count: Annotated[
        int, typer.Option("--count", "-n", metavar="N", help=f"How many faces, 1 to {MAX_COUNT}.")
    ] = 16,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="SEED",
            help="0 to 2^63 - 1: the same seed and model give the same faces, fewer are the first of more. "
            "Without, a random one, which is told.",
        ),
    ] = None,
    grid: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a sheet of all faces, a PNG. Without, and without --output and --gif, "
            "faces-<seed>.png.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write each face, <seed>-<number>.png in DIR, numbers from 0001."),
    ] = None,
    gif: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help=f"Write a film in which the faces (at most {_MAX_MOVING}) become those of another seed, and "
            "back.",
        ),
    ] = None,
    to: Annotated[
        int | None,
        typer.Option(
            metavar="SEED",
            help="The film's other seed. Without, a random one, which is told.",
        ),
    ] = None,
    scale: Annotated[
        int, typer.Option(metavar="K", help=f"Draw all K times larger, 1 to {_MAX_SCALE}, to look at.")
    ] = 1,
    workspace: WorkspaceOption = None,
) -> None:
    """Make faces of persons who do not exist, with the newest pushed synthesis model.

    Files are written whole or not at all, and say inside that they were generated. They replace what was
    generated earlier, and nothing else.
    """
    _check_number("--count", count, 1, MAX_COUNT)
    _check_number("--scale", scale, 1, _MAX_SCALE)
    start = _chosen_seed("--seed", seed)
    if to is not None and gif is None:
        raise InputError(f"--to {to}: expected --gif FILE with it, the film from one seed to the other")
    if gif is not None:
        _check_number("--count", count, 1, _MAX_MOVING, " for --gif")
    end = _chosen_seed("--to", to) if gif is not None else None
    places = _Places(grid, output, gif)
    if places == (None, None, None):
        places = _Places(Path(f"faces-{start}.png"), None, None)
    singles = _check_places(places, start, count)
    from pipelines.generator import load_generator
    from pipelines.settings import Workspace

    generator = load_generator(Workspace.at(workspace))
    faces = generator.faces(start, count)
    _check_sizes(places, faces, scale)
    if places.grid:
        _write_grid(places.grid, faces, scale, _note(generator, start))
    for number, file in enumerate(singles):
        _write_single(file, faces[number], scale, f"{_note(generator, start)}, face {number + 1}")
    if places.gif and end is not None:
        _write_film(places.gif, generator, (start, end), count, scale)
    _tell(generator, count, start, end, places)


# ---- what is given


def _check_number(option: str, value: int, least: int, most: int, why: str = "") -> None:
    if not least <= value <= most:
        raise InputError(f"{option} {value}: expected {least} to {most}{why}")


def _chosen_seed(option: str, given: int | None) -> int:
    """Returns the seed that was given, or a random one."""
    if given is None:
        return secrets.randbelow(_RANDOM_SEEDS)
    _check_number(option, given, 0, _MAX_SEED)
    return given


def _check_places(places: _Places, seed: int, count: int) -> list[Path]:
    """Refuses places where something would be lost, before anything is made.

    Returns:
        The files of the single faces.
    """
    from pipelines.face_sheets import check_replaceable

    for option, file, suffix in (("--grid", places.grid, ".png"), ("--gif", places.gif, ".gif")):
        if file is None:
            continue
        if file.suffix.lower() != suffix:
            raise InputError(f"{option} {file}: expected a file name that ends with {suffix}")
        check_replaceable(file, option)
    if places.output is None:
        return []
    if places.output.exists() and not places.output.is_dir():
        raise InputError(f"--output {places.output}: expected a folder, found a file")
    singles = [places.output / f"{seed}-{number:04d}.png" for number in range(1, count + 1)]
    for file in singles:
        check_replaceable(file, "--output")
    if places.grid and places.grid.resolve() in {file.resolve() for file in singles}:
        raise InputError(f"--grid {places.grid}: expected a place of its own, found one of --output's")
    return singles


def _check_sizes(places: _Places, faces: "np.ndarray", scale: int) -> None:
    """Refuses pictures that few programs would open, before anything is written."""
    from pipelines.face_sheets import MAX_PIXELS, sheet_size

    count, face_height, face_width = faces.shape[:3]
    width, height = sheet_size(count, face_height, face_width, scale)
    for option, file, frames in (("--grid", places.grid, 1), ("--gif", places.gif, _STEPS + 1)):
        pixels = width * height * frames
        if file is not None and pixels > MAX_PIXELS:
            raise InputError(
                f"--scale {scale}: expected at most {MAX_PIXELS:,} pixels for {option}, found {pixels:,}; "
                "choose a smaller scale, or a smaller --count"
            )


# ---- what is made


def _write_grid(file: Path, faces: "np.ndarray", scale: int, note: str) -> None:
    from pipelines.face_sheets import as_png, sheet
    from pipelines.whole_files import write_whole

    write_whole(file, as_png(sheet(faces, scale), note))


def _write_single(file: Path, face: "np.ndarray", scale: int, note: str) -> None:
    from pipelines.face_sheets import as_png, enlarged
    from pipelines.whole_files import write_whole

    write_whole(file, as_png(enlarged(face, scale), note))


def _write_film(file: Path, generator: "Generator", seeds: tuple[int, int], count: int, scale: int) -> None:
    from pipelines.face_sheets import as_gif, sheet
    from pipelines.generator import slerp
    from pipelines.whole_files import write_whole

    first, last = (generator.latents(seed, count) for seed in seeds)
    frames = []
    for step in range(_STEPS + 1):
        faces = generator.decode(slerp(first, last, _eased(step / _STEPS)))
        frames.append(sheet(faces, scale))
    write_whole(file, as_gif(frames, f"{_note(generator, seeds[0])} to {seeds[1]}"))


def _eased(time: float) -> float:
    """Returns the share of the way at a share of the time: slow at both ends, as things in the world move."""
    return (1.0 - math.cos(math.pi * time)) / 2.0


# ---- what is told


def _note(generator: "Generator", seed: int) -> str:
    from pipelines.pushed_model import described

    return f"generated by {described(generator.version, generator.source)}, seed {seed}"


def _tell(generator: "Generator", count: int, start: int, end: int | None, places: _Places) -> None:
    from pipelines.pushed_model import described

    seeds = f"seed {start}" if end is None else f"seeds {start} to {end}"
    _say([str(place) for place in places if place is not None])
    model = described(generator.version, generator.source)
    _say([f"{count} {'face' if count == 1 else 'faces'}, {seeds}; {model}"])


def _say(lines: Sequence[str]) -> None:
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
