"""Spans of corrections on disk: `<root>/<task>/span-<YYYYMMDD>`, each a data set in a published form.

Processes take turns in changing them. Readers need no lock: what is written is prepared in a folder beside
the tasks' and moved to its place, pictures before the index that names them (what the index does not name is
not read), and the first correction of a day comes with its whole span. The one exception is told in
`indexes.CELEBA`. What a process that was killed left undone is put right by the next change of that span.
Only the owner may look into any of it.
"""

import contextlib
import csv
import fcntl
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from serving.portal.corrections.indexes import BadIndex, Index
from serving.portal.corrections.published import LAYOUTS, Content, Form, Label

_LOCK, _WORKSHOP = ".lock", ".incoming"
_ONLY_OWNER, _OWNERS_FOLDER = 0o600, 0o700
_SPAN = re.compile(r"span-([0-9]{1,9})", re.ASCII)
# Nothing else in the paths of a span has so many digits.
_NAME = re.compile(r"[0-9]{20}", re.ASCII)
_PAUSE = 0.02


class Busy(OSError):
    """Others have been changing the spans for too long."""


class Changes:
    """What can be done while nobody else changes the spans; `Spans.changing` makes it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._workshop = root / _WORKSHOP

    def add(self, task: str, span: int, name: str, label: Label, contents: Sequence[Content]) -> None:
        """Adds a correction.

        Args:
            task: Of LAYOUTS.
            span: The day as YYYYMMDD.
            name: 20 random digits.
            label: What is right.
            contents: As the task's form gives them.

        Raises:
            OSError: It cannot be written; parts of it may have been.
            BadIndex: The span's index was changed by others.
        """
        form, folder = LAYOUTS[task], _folder(self._root, task, span)
        if folder.is_dir():
            self._put(form, folder, name, label, contents)
            return
        whole = self._workshop / folder.name
        self._put(form, whole, name, label, contents)
        _make_folder(folder.parent)
        os.replace(whole, folder)
        _sync(folder.parent)

    def remove(self, task: str, span: int, name: str, label: Label) -> None:
        """Removes a correction, also one of which there are parts only, or nothing.

        Args:
            task: As for `add`.
            span: As for `add`.
            name: As for `add`.
            label: As for `add`.

        Raises:
            OSError: It cannot be removed.
            BadIndex: The span's index was changed by others.
        """
        self.tidy()  # of an addition that failed
        form, folder = LAYOUTS[task], _folder(self._root, task, span)
        if not folder.is_dir():
            return
        if not _names(form, folder) - {name}:
            # Readers take a data set without pictures for an error.
            os.replace(folder, self._workshop / folder.name)
            _sync(folder.parent)
            self.tidy()
            return
        if form.index:
            rows = _rows(form.index, folder)
            rows.pop(form.row(name, label)[0], None)
            _move([self._prepare_index(form.index, rows, folder)])
        for number, path in enumerate(form.paths(name, label)):
            with contextlib.suppress(FileNotFoundError):
                os.replace(folder / path, self._workshop / f"removed-{number}")
                _sync((folder / path).parent)
        self.tidy()

    def has_files(self, task: str, span: int, name: str, label: Label) -> bool:
        """Tells whether there is a file of a correction, also one that no index names."""
        folder = _folder(self._root, task, span)
        return any((folder / path).exists() for path in LAYOUTS[task].paths(name, label))

    def tidy(self) -> None:
        """Empties the folder in which changes are prepared, also of what a killed process left there."""
        if self._workshop.exists():
            shutil.rmtree(self._workshop)
        _make_folder(self._workshop)

    def _put(self, form: Form, folder: Path, name: str, label: Label, contents: Sequence[Content]) -> None:
        moves = []
        for number, (path, content) in enumerate(zip(form.paths(name, label), contents, strict=True)):
            prepared = self._workshop / f"picture-{number}"
            _write(prepared, content)
            moves.append((prepared, folder / path))
        if form.index:
            rows = _rows(form.index, folder)
            key, row = form.row(name, label)
            index = self._prepare_index(form.index, {**rows, key: row}, folder)
            moves = [index, *moves] if form.index.comes_first else [*moves, index]
        _move(moves)

    def _prepare_index(self, index: Index, rows: dict[str, str], folder: Path) -> tuple[Path, Path]:
        prepared = self._workshop / "index"
        _write(prepared, index.render(rows).encode())
        return prepared, folder / index.file


class Spans:
    """The spans of all tasks."""

    def __init__(self, root: Path) -> None:
        """Keeps where they are.

        Args:
            root: The folder of the tasks' folders; made when something is kept.
        """
        self._root = root

    def were_changed(self) -> bool:
        """Tells whether anything was ever kept here: nothing was where a shared folder is not mounted."""
        return (self._root / _LOCK).exists()

    def folder(self, task: str) -> Path:
        """Returns the folder of a task's spans, which training takes as data."""
        return self._root / task

    @contextlib.contextmanager
    def changing(self, seconds: float = 10.0) -> Iterator[Changes]:
        """Keeps others from changing the spans meanwhile.

        Args:
            seconds: How long to wait for others.

        Yields:
            What changes them.

        Raises:
            Busy: Others took longer.
        """
        _make_folder(self._root)
        descriptor = os.open(self._root / _LOCK, os.O_RDWR | os.O_CREAT, _ONLY_OWNER)
        try:
            end = time.monotonic() + seconds
            while not _try_lock(descriptor):
                if time.monotonic() >= end:
                    raise Busy("corrections: others are changing them")
                time.sleep(_PAUSE)
            changes = Changes(self._root)
            changes.tidy()
            yield changes
        finally:
            # The system unlocks when it is closed, also that of a process that was killed.
            os.close(descriptor)

    def counts(self, task: str) -> dict[int, int]:
        """Returns how many corrections each span of a task has, the oldest first.

        Raises:
            BadIndex: An index was changed by others.
        """
        folder = self.folder(task)
        numbers = [_SPAN.fullmatch(child.name) for child in folder.iterdir()] if folder.is_dir() else []
        spans = sorted(int(match[1]) for match in numbers if match)
        return {span: len(_names(LAYOUTS[task], _folder(self._root, task, span))) for span in spans}

    def has(self, task: str, span: int, name: str) -> bool:
        """Tells whether a correction is there; an operator may have removed it with its span.

        Raises:
            BadIndex: The span's index was changed by others.
        """
        return name in _names(LAYOUTS[task], _folder(self._root, task, span))


def _folder(root: Path, task: str, span: int) -> Path:
    return root / task / f"span-{span}"


def _names(form: Form, folder: Path) -> set[str]:
    """Returns the names of the corrections in a span."""
    if form.index:
        paths = list(_rows(form.index, folder))
    else:
        pictures = folder / form.folder
        paths = os.listdir(pictures) if pictures.is_dir() else []
    return {name[0] for name in map(_NAME.search, paths) if name}


def _rows(index: Index, folder: Path) -> dict[str, str]:
    """Reads an index, without what names no picture: the process that was to bring it was killed."""
    file = folder / index.file
    try:
        rows = index.parse(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (ValueError, csv.Error) as error:  # also where it is no text
        raise BadIndex(f"{file}: {error}") from error
    return {key: row for key, row in rows.items() if (folder / index.folder / key).is_file()}


def _write(path: Path, content: Content) -> None:
    """Writes a file, or a folder of files, through to the disk."""
    if not isinstance(content, bytes):
        _make_folder(path)
        for name, data in content.items():
            _write(path / name, data)
        _sync(path)
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _ONLY_OWNER)
    with os.fdopen(descriptor, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _move(moves: Sequence[tuple[Path, Path]]) -> None:
    """Moves what was prepared to its places, without a pause between."""
    for _, place in moves:
        _make_folder(place.parent)
    for prepared, place in moves:
        os.replace(prepared, place)
    for _, place in moves:
        _sync(place.parent)


def _make_folder(folder: Path) -> None:
    """Makes a folder and those above it; `Path.mkdir` gives its mode to the last one only."""
    for each in (*reversed(folder.parents), folder):
        each.mkdir(mode=_OWNERS_FOLDER, exist_ok=True)


def _sync(folder: Path) -> None:
    """Makes sure that the names in a folder outlive a crash."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
