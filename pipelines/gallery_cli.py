"""The `hexaface gallery` commands: enrol persons, and find whom a picture shows."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data_validation.errors import InputError, hint
from pipelines.cli_options import WorkspaceOption
from pipelines.pictures import progress, read_file
from pipelines.pushed_model import described

if TYPE_CHECKING:
    import numpy as np

    from pipelines.embedder import Embedder
    from pipelines.face_cutting import FaceChoice, FaceCutter
    from pipelines.settings import Workspace
    from serving.gallery import Gallery, Match, Picture, Summary

gallery_app = typer.Typer(
    help="A local gallery of faces: enrol persons, find whom a picture shows.",
    epilog="With a detection model in the workspace, the face of each picture is found and aligned; without, "
    "pictures must be aligned faces, 112x112 pixels (other sizes are resized). The gallery holds names and "
    "embeddings, and no picture.",
    no_args_is_help=True,
)
console = Console()
errors = Console(stderr=True)

GalleryOption = Annotated[
    Path | None,
    typer.Option("--gallery", metavar="FILE", help="The gallery; without, gallery.db in the workspace."),
]
BoxOption = Annotated[
    str,
    typer.Option(
        "--box",
        metavar="L,T,W,H",
        help="Where the face is in every image: left, top, width and height in pixels; it is cut out.",
    ),
]
AlignedOption = Annotated[
    bool, typer.Option("--aligned", help="The images are aligned faces already, and are taken as they are.")
]
LargestOption = Annotated[
    bool, typer.Option("--largest", help="Where an image shows several faces, take the largest.")
]
_IMAGES_HELP = "Image files, or folders of such, that show one face each."
_Item = TypeVar("_Item")


class _File(NamedTuple):
    """An image file to enrol."""

    person: str
    path: Path


class _Bound(NamedTuple):
    """How near a match must be, and the false accept rate that this stands for."""

    threshold: float
    far: float


@gallery_app.command()
def add(
    person: Annotated[str | None, typer.Argument(metavar="PERSON", help="The person's name.")] = None,
    images: Annotated[list[Path] | None, typer.Argument(metavar="IMAGE", help=_IMAGES_HELP)] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", metavar="DIR", help="Enrol all of DIR/<person>/<image>."),
    ] = None,
    box: BoxOption = "",
    aligned: AlignedOption = False,
    largest: LargestOption = False,
    gallery: GalleryOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Enrol a person, or a folder of persons: all of the pictures or, if one cannot be used, none.

    Each picture must show one face, which is found and aligned, if the workspace has a detection model.
    Pictures that the gallery has already are skipped.
    """
    from pipelines.embedder import load_embedder
    from pipelines.face_cutting import face_cutter
    from pipelines.settings import Workspace
    from serving.gallery import MAX_FACES, Gallery

    files = _files_to_add(person, images or [], folder)
    if len(files) > MAX_FACES:
        raise InputError(f"expected at most {MAX_FACES} images, found {len(files)}")
    place = Workspace.at(workspace)
    path, choice = _path(gallery, place), _choice(box, aligned, largest)
    with _gallery_errors(), _gone_on_error(path), Gallery(path, create=True) as opened:
        embedder = load_embedder(place, opened.summary().model)
        opened.check_model(embedder.version)
        cutter = face_cutter(choice, place, embedder.source)
        pictures, embeddings = _embed_new(files, opened, embedder, cutter)
        added = opened.add(pictures, embeddings, embedder.version) if pictures else 0
    _say(f"{opened.path}: {added} of {len(files)} faces added, with {_described(embedder)}")
    if added < len(files):
        _say(
            f"{len(files) - added} skipped, which are in it already under the same person, cut as they were "
            "then; remove the person to add them anew"
        )
    if added:
        _tell_how(cutter)


@gallery_app.command()
def search(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help=_IMAGES_HELP)],
    top: Annotated[int, typer.Option(help="How many persons to show for an image.", min=1)] = 5,
    far: Annotated[
        float | None,
        typer.Option(help="False accept rate per comparison to match at; without, the model's own."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    box: BoxOption = "",
    aligned: AlignedOption = False,
    largest: LargestOption = False,
    gallery: GalleryOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Find the nearest persons of each picture, and say who is near enough to match.

    Each picture must show one face, which is found and aligned, if the workspace has a detection model.
    """
    from pipelines.embedder import load_embedder
    from pipelines.face_cutting import face_cutter
    from pipelines.settings import Workspace
    from serving.gallery import Gallery

    files = _images(images)
    place, choice = Workspace.at(workspace), _choice(box, aligned, largest)
    with _gallery_errors(), Gallery(_path(gallery, place)) as opened:
        summary = opened.summary()
        if not summary.faces:
            raise InputError(f"{opened.path}: it holds no face; `hexaface gallery add` adds some")
        embedder = load_embedder(place, summary.model)
        opened.check_model(embedder.version)
        bound = _bound(embedder, far)
        cutter = face_cutter(choice, place, embedder.source)
        faces = _embed(files, embedder, cutter)
        found = opened.search(faces, embedder.version, threshold=bound.threshold, top=top)
    if as_json:
        answer = _as_json(opened.path, files, found, summary, embedder, bound)
        typer.echo(json.dumps(answer | {"faces_found_by": cutter.found_by}, indent=2))
    else:
        console.print(_matches_table(files, found))
        _say(*_meaning(summary, embedder, bound))
    _tell_how(cutter)


@gallery_app.command("list")
def list_persons(gallery: GalleryOption = None, workspace: WorkspaceOption = None) -> None:
    """List the enrolled persons."""
    from pipelines.settings import Workspace
    from serving.gallery import Gallery

    with _gallery_errors(), Gallery(_path(gallery, Workspace.at(workspace))) as opened:
        summary, persons = opened.summary(), opened.persons()
    if not persons:
        _say(f"{opened.path}: it holds no face; `hexaface gallery add` adds some")
        return
    table = _table("person", "faces", "first added", right=("faces",))
    for person in persons:
        table.add_row(Text(person.name), str(person.faces), person.first_added)
    console.print(table)
    _say(
        f"{opened.path}: {_count(summary.persons, 'person')}, {_count(summary.faces, 'face')}; "
        f"embeddings of {summary.size} numbers by {summary.model}"
    )


@gallery_app.command()
def remove(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="The person's name.")],
    gallery: GalleryOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Remove a person with all faces; the file keeps nothing of them."""
    from pipelines.settings import Workspace
    from serving.gallery import Gallery

    with _gallery_errors(), Gallery(_path(gallery, Workspace.at(workspace))) as opened:
        removed = opened.remove(person)
        known = [] if removed else [one.name for one in opened.persons()]
    if not removed:
        raise InputError(f"{opened.path}: person {person!r}: there is none{hint(person, known)}")
    _say(f"{opened.path}: {person} removed, {_count(removed, 'face')}")


# ---- files


def _files_to_add(person: str | None, images: Sequence[Path], folder: Path | None) -> list[_File]:
    if (person is None) == (folder is None) or (person is not None and not images):
        raise InputError("expected either PERSON and IMAGE..., or --folder DIR")
    if folder is not None:
        return _identity_folders(folder)
    return [_File(str(person), file) for file in _images(images)]


def _identity_folders(folder: Path) -> list[_File]:
    from components.readers.identity_folders import IdentityFoldersReader

    if not folder.is_dir():
        raise InputError(f"--folder {folder}: expected a folder")
    items = [item.split("/", 1) for item in IdentityFoldersReader(folder).items()]
    if not items:
        raise InputError(f"--folder {folder}: expected folders of persons with images, found none")
    return [_File(person, folder / person / name) for person, name in items]


def _images(paths: Sequence[Path]) -> list[Path]:
    """Returns files as they are, and the images that are directly in folders, by name."""
    from components.readers.identity_folders import SUFFIXES

    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        visible = (file for file in path.iterdir() if not file.name.startswith("."))
        inside = sorted(file for file in visible if file.suffix.lower() in SUFFIXES)
        if not inside:
            raise InputError(f"{path}: expected images ({', '.join(SUFFIXES)}), found none")
        files.extend(inside)
    return files


def _choice(box: str, aligned: bool, largest: bool) -> "FaceChoice":
    from pipelines.face_cutting import FaceChoice

    if bool(box) + aligned + largest > 1:
        raise InputError("expected one of --box, --aligned and --largest, found several")
    return FaceChoice(_parsed_box(box), aligned, largest)


def _parsed_box(text: str) -> tuple[int, ...]:
    numbers = text.split(",") if text else []
    if len(numbers) not in (0, 4) or not all(one.isascii() and one.isdigit() for one in numbers):
        raise InputError(f"--box {text}: expected left, top, width and height in pixels, as in 56,47,138,138")
    return tuple(int(one) for one in numbers)


@contextmanager
def _gone_on_error(path: Path) -> Iterator[None]:
    """Leaves no empty gallery behind where the first faces could not be added."""
    existed = path.exists()
    try:
        yield
    except BaseException:
        if not existed:
            path.unlink(missing_ok=True)
        raise


def _path(gallery: Path | None, place: "Workspace") -> Path:
    return gallery or place.root / "gallery.db"


# ---- embeddings


def _embed_new(
    files: Sequence[_File], gallery: "Gallery", embedder: "Embedder", cutter: "FaceCutter"
) -> tuple[list["Picture"], "np.ndarray"]:
    """Returns the pictures that are not in the gallery yet, and their embeddings."""
    import numpy as np

    from serving.gallery import Picture

    pictures: list[Picture] = []
    embeddings: list[np.ndarray] = []
    with progress(len(files)) as advance:
        for batch in _batches(files):
            images = [read_file(file.path) for file in batch]
            read = [
                Picture(file.person, hashlib.sha256(image).hexdigest(), str(file.path))
                for file, image in zip(batch, images, strict=True)
            ]
            new = gallery.missing(read)
            pictures.extend(read[one] for one in new)
            if new:
                names = [read[one].source for one in new]
                faces = [cutter.cut(images[one], read[one].source) for one in new]
                embeddings.append(embedder.embed(faces, names))
            advance(len(batch))
    return pictures, np.concatenate(embeddings) if embeddings else np.zeros([0, 0], np.float32)


def _bound(embedder: "Embedder", far: float | None) -> _Bound:
    if far is None:
        return _Bound(embedder.threshold, embedder.far)
    if far not in embedder.thresholds:
        known = ", ".join(f"{rate:g}" for rate in embedder.thresholds)
        raise InputError(
            f"--far {far:g}: expected one of {known or 'no rates'}, as {embedder.version} has them"
        )
    return _Bound(embedder.thresholds[far], far)


def _embed(files: Sequence[Path], embedder: "Embedder", cutter: "FaceCutter") -> "np.ndarray":
    import numpy as np

    embeddings = []
    with progress(len(files)) as advance:
        for batch in _batches(files):
            faces = [cutter.cut(read_file(file), str(file)) for file in batch]
            embeddings.append(embedder.embed(faces, [str(file) for file in batch]))
            advance(len(batch))
    return np.concatenate(embeddings)


def _batches(items: Sequence[_Item]) -> Iterator[Sequence[_Item]]:
    """Passes on a batch at a time, so that memory holds few images."""
    from pipelines.embedder import BATCH

    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


# ---- what is shown


def _matches_table(files: Sequence[Path], found: Sequence[Sequence["Match"]]) -> Table:
    table = _table("image", "rank", "person", "cosine distance", "match", right=("rank", "cosine distance"))
    for file, matches in zip(files, found, strict=True):
        for rank, match in enumerate(matches, start=1):
            verdict = Text("yes", "green") if match.is_match else Text("no", "dim")
            image = Text(str(file) if rank == 1 else "")
            table.add_row(image, str(rank), Text(match.person), f"{match.distance:.4f}", verdict)
    return table


def _meaning(summary: "Summary", embedder: "Embedder", bound: _Bound) -> Iterator[str]:
    """Tells what a match is worth."""
    few = ", which are too few to tell" if bound.far * embedder.pairs < 1.0 else ""
    yield (
        f"match: cosine distance at most {bound.threshold:.4g} ({_described(embedder)}); at this threshold "
        f"{_percent(bound.far)} of comparisons of two different persons match (false accept rate, measured "
        f"on {embedder.pairs:,} pairs{few})"
    )
    line = (
        f"with {_count(summary.persons, 'person')} in the gallery a stranger is expected to match somebody "
        f"about {_percent(_stranger_rate(bound.far, summary.persons))} of the time"
    )
    if summary.faces > summary.persons:
        # Each face is a comparison; those of one person are alike, so the truth is in between.
        most = _percent(_stranger_rate(bound.far, summary.faces))
        line += f", up to {most} as there are {summary.faces} faces of them"
    yield line


def _stranger_rate(far: float, comparisons: int) -> float:
    """Returns how likely a stranger matches at least once in so many comparisons, taken as independent."""
    return 1.0 - (1.0 - far) ** comparisons


def _as_json(
    path: Path,
    files: Sequence[Path],
    found: Sequence[Sequence["Match"]],
    summary: "Summary",
    embedder: "Embedder",
    bound: _Bound,
) -> dict[str, object]:
    return {
        "gallery": str(path),
        "model": embedder.version,
        "trained_on": embedder.source,
        "threshold": bound.threshold,
        "false_accept_rate": bound.far,
        "false_accept_rate_pairs": embedder.pairs,
        "persons": summary.persons,
        "faces": summary.faces,
        "stranger_match_rate": _stranger_rate(bound.far, summary.persons),
        "images": [
            {
                "image": str(file),
                "persons": [
                    {
                        "rank": rank,
                        "person": match.person,
                        "cosine_distance": match.distance,
                        "match": match.is_match,
                    }
                    for rank, match in enumerate(matches, start=1)
                ],
            }
            for file, matches in zip(files, found, strict=True)
        ],
    }


def _described(embedder: "Embedder") -> str:
    words = described(embedder.version, embedder.source)
    if embedder.is_newest:
        return words
    return f"{words}, not the newest, but the one that the gallery was made with"


def _tell_how(cutter: "FaceCutter") -> None:
    """Tells how faces were found; on stderr, so that it is not among what a script reads."""
    if cutter.notice:
        errors.print(cutter.notice, highlight=False, soft_wrap=True, markup=False)


def _table(*headings: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold", justify="right" if heading in right else "left")
    return table


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _say(*lines: str) -> None:
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


@contextmanager
def _gallery_errors() -> Iterator[None]:
    """Turns what a gallery refuses into bad input."""
    from serving.gallery import GalleryError

    try:
        yield
    except GalleryError as error:
        raise InputError(str(error)) from error
