"""A gallery of enrolled persons: embeddings of their faces in one file, and the search of a face in them.

The file is an SQLite database. It holds names, embeddings, hashes of the image files and times, and never an
image; embeddings are biometric data, so only its owner may read it, and what is removed is overwritten.

    with Gallery(Path("gallery.db"), create=True) as gallery:
        gallery.add([Picture("Ann", sha256, "ann.jpg")], embeddings, "verification/1764000000")
        [matches] = gallery.search(query, "verification/1764000000", threshold=0.41, top=5)

Distances are cosine distances: 1 - a.b, which is half the squared Euclidean one, as rows have length 1.
"""

import contextlib
import os
import re
import sqlite3
import unicodedata
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from serving.face_index import ExactIndex, Index, IndexFactory

# Up to this, exact search answers in milliseconds.
MAX_FACES = 100_000
MAX_NAME = 200
MAX_SIZE = 4096

_FORMAT = "1"
# Tells a gallery from other SQLite files: "HXFG".
_APPLICATION = 0x48584647
_LOCK_SECONDS = 10.0
_ONLY_OWNER = 0o600
_SCHEMA = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE faces (id INTEGER PRIMARY KEY, person TEXT NOT NULL, embedding BLOB NOT NULL,"
    " sha256 TEXT NOT NULL UNIQUE, added TEXT NOT NULL)",
    "CREATE INDEX faces_by_person ON faces (person)",
    f"PRAGMA application_id = {_APPLICATION}",
)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_SIZE = re.compile(r"[0-9]{1,4}")
# Control characters, halves of characters (undecodable file names) and breaks of lines.
_NOT_IN_NAMES = ("Cc", "Cs", "Zl", "Zp")
_LENGTH_TOLERANCE = 1e-3
# Queries are searched so many at a time, so that distances to all faces fit in some tens of megabytes.
_QUERIES = 32
_FIRST_FACES = 4  # faces that are looked at first for each person wanted


class GalleryError(ValueError):
    """A gallery that cannot be used so; nothing was changed.

    The message is one line that names the file, name or picture, what was expected and what was found.
    """


@dataclass(frozen=True)
class Picture:
    """A picture of a person, as it is enrolled.

    Attributes:
        person: The person's name, 1 to 200 characters without control characters.
        sha256: Hash of the image file, 64 hexadecimal digits.
        source: What messages call the picture, such as the file's path; it is not kept.
    """

    person: str
    sha256: str
    source: str


@dataclass(frozen=True)
class Person:
    """An enrolled person.

    Attributes:
        name: The name.
        faces: How many faces, at least 1.
        first_added: When the first of those faces was added: UTC, ISO 8601, to the second.
    """

    name: str
    faces: int
    first_added: str


@dataclass(frozen=True)
class Match:
    """A person that a search found.

    Attributes:
        person: The name.
        distance: Cosine distance of the person's nearest face, 0 (alike) to 2.
        is_match: Whether the distance is at most the threshold.
    """

    person: str
    distance: float
    is_match: bool


@dataclass(frozen=True)
class Summary:
    """What a gallery holds.

    Attributes:
        model: Name and version of the model of all embeddings; empty while there is no face.
        size: Numbers in an embedding; 0 while there is no face.
        persons: How many persons.
        faces: How many faces.
    """

    model: str
    size: int
    persons: int
    faces: int


@dataclass(frozen=True)
class _Loaded:
    """The faces in memory: those of a state of the file, with their index."""

    state: int
    summary: Summary
    names: Sequence[str]
    index: Index


class Gallery:
    """An open gallery. Other processes may use the file meanwhile; an object belongs to one thread."""

    def __init__(
        self,
        path: Path,
        *,
        create: bool = False,
        max_faces: int = MAX_FACES,
        index: IndexFactory = ExactIndex,
    ) -> None:
        """Opens a gallery.

        Args:
            path: The file.
            create: Whether to make it where it is missing, readable by its owner only.
            max_faces: How many faces it may hold.
            index: What searches in the embeddings.

        Raises:
            GalleryError: The file is missing, cannot be read or made, is no gallery, or is damaged.
        """
        self.path = path
        self._max_faces = max_faces
        self._index = index
        self._loaded: _Loaded | None = None
        if create:
            self._make_file()
        elif not path.exists():
            raise GalleryError(f"{path}: there is no gallery; `hexaface gallery add` makes one")
        with self._told():
            self._database = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw", timeout=_LOCK_SECONDS, isolation_level=None, uri=True
            )
        try:
            with self._told():
                # Removed embeddings must not stay readable in free pages.
                self._database.execute("PRAGMA secure_delete = ON")
                self._check_format(create)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Gallery":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._database.close()

    # ---- what is in it

    def summary(self) -> Summary:
        """Tells what the gallery holds."""
        with self._transaction():
            return self._summary()

    def persons(self) -> list[Person]:
        """Lists the enrolled persons by name."""
        with self._told():
            rows = self._database.execute(
                "SELECT person, count(*), min(added) FROM faces GROUP BY person ORDER BY person"
            )
            return [Person(*row) for row in rows]

    def check_model(self, model: str, size: int | None = None) -> None:
        """Checks that embeddings can be compared with those in the gallery.

        Args:
            model: Name and version of their model.
            size: Numbers in an embedding; None if it is not known yet.

        Raises:
            GalleryError: The gallery was made with another model, or with embeddings of another size.
        """
        with self._transaction():
            self._check_fit(self._summary(), model, size)

    def missing(self, pictures: Sequence[Picture]) -> list[int]:
        """Finds the pictures that would be added: those not yet in the gallery, each once.

        Args:
            pictures: Any pictures.

        Returns:
            Their positions, ascending.

        Raises:
            GalleryError: A name or a hash cannot be one, or the same picture is there under another person.
        """
        checked = [_checked(picture) for picture in pictures]
        with self._transaction():
            return self._missing(checked)

    # ---- changes

    def add(self, pictures: Sequence[Picture], embeddings: np.ndarray, model: str) -> int:
        """Adds faces, all or none; pictures that are there already under the same person are passed over.

        The first faces fix the model and the size of embeddings.

        Args:
            pictures: N pictures.
            embeddings: float32 [N, D], rows of length 1.
            model: Name and version of the model that made them.

        Returns:
            How many were added, 0 to N.

        Raises:
            GalleryError: A name, hash or embedding cannot be one; the gallery is of another model or size;
                the same picture is there under another person; there would be too many faces; or the file
                cannot be written.
        """
        checked = [_checked(picture) for picture in pictures]
        rows = _checked_embeddings(embeddings, [picture.source for picture in pictures])
        if not checked:
            return 0
        with self._transaction(change=True):
            self._check_fit(self._summary(), model, rows.shape[1])
            positions = self._missing(checked)
            self._check_room(len(positions))
            if positions:
                self._set_model(model, rows.shape[1])
            added = _now()
            self._database.executemany(
                "INSERT INTO faces (person, embedding, sha256, added) VALUES (?, ?, ?, ?)",
                (
                    (checked[position].person, rows[position].tobytes(), checked[position].sha256, added)
                    for position in positions
                ),
            )
        return len(positions)

    def remove(self, person: str) -> int:
        """Removes a person; a gallery without faces takes those of any model again.

        Args:
            person: The name.

        Returns:
            How many faces were removed; 0 if there is no such person.

        Raises:
            GalleryError: The name cannot be one, or the file cannot be written.
        """
        name = checked_name(person)
        with self._transaction(change=True):
            removed = self._database.execute("DELETE FROM faces WHERE person = ?", (name,)).rowcount
            if not self._count():
                self._database.execute("DELETE FROM meta WHERE key IN ('model', 'size')")
        return removed

    # ---- search

    def search(self, queries: np.ndarray, model: str, *, threshold: float, top: int) -> list[list[Match]]:
        """Finds the nearest persons of some faces; a person is as near as the nearest face of it.

        The faces are read at the first search, and again when the file has changed.

        Args:
            queries: float32 [M, D], rows of length 1.
            model: Name and version of the model that made them.
            threshold: Largest cosine distance of a match, 0 to 2.
            top: How many persons, at least 1.

        Returns:
            For each query the nearest persons, the nearest first: `top`, or all if there are fewer.

        Raises:
            GalleryError: An embedding cannot be one; the gallery is of another model or size; or it cannot be
                read.
        """
        if top < 1:
            raise GalleryError(f"top: expected 1 or more, found {top}")
        rows = _checked_embeddings(queries, [f"query {number}" for number in range(1, len(queries) + 1)])
        with self._transaction():
            loaded = self._load(model, rows.shape[1])
        if loaded is None:
            return [[] for _ in range(len(rows))]
        found: list[list[Match]] = []
        for start in range(0, len(rows), _QUERIES):
            for nearest in _nearest_persons(loaded, rows[start : start + _QUERIES], top):
                found.append([Match(name, far, far <= threshold) for name, far in nearest.items()])
        return found

    def _load(self, model: str, size: int) -> _Loaded | None:
        """Reads the faces, unless they are those in memory; None if there are none."""
        # Another value each time that another connection has changed the file; own changes forget the faces.
        (state,) = self._database.execute("PRAGMA data_version").fetchone()
        if self._loaded is not None and self._loaded.state != state:
            self._loaded = None
        summary = self._loaded.summary if self._loaded else self._summary()
        self._check_fit(summary, model, size)
        if self._loaded is None and summary.faces:
            names, embeddings = self._read_faces(summary)
            self._loaded = _Loaded(state, summary, names, self._index(embeddings))
        return self._loaded

    def _read_faces(self, summary: Summary) -> tuple[list[str], np.ndarray]:
        names: list[str] = []
        embeddings = np.empty((summary.faces, summary.size), np.float32)
        for row, (face, name, blob) in enumerate(
            self._database.execute("SELECT id, person, embedding FROM faces ORDER BY id")
        ):
            if not isinstance(blob, bytes) or len(blob) != 4 * summary.size:
                raise self._damaged(f"face {face}: expected an embedding of {summary.size} numbers")
            embeddings[row] = np.frombuffer(blob, "<f4")
            names.append(name)
        # Damage that SQLite cannot see.
        if not _lengths_are_one(embeddings).all():
            raise self._damaged("expected embeddings of length 1")
        return names, embeddings

    # ---- steps inside of a transaction

    def _summary(self) -> Summary:
        meta = self._meta()
        persons, faces = self._database.execute(
            "SELECT count(DISTINCT person), count(*) FROM faces"
        ).fetchone()
        size = meta.get("size", "0")
        valid = _SIZE.fullmatch(size) is not None and int(size) <= MAX_SIZE
        if not valid or any(bool(faces) != bool(value) for value in (int(size), meta.get("model"))):
            raise self._damaged(f"model {meta.get('model')!r} and size {size!r} do not fit {faces} faces")
        return Summary(meta.get("model", ""), int(size), persons, faces)

    def _meta(self) -> dict[str, str]:
        return {str(key): str(value) for key, value in self._database.execute("SELECT key, value FROM meta")}

    def _count(self) -> int:
        (count,) = self._database.execute("SELECT count(*) FROM faces").fetchone()
        return int(count)

    def _check_fit(self, own: Summary, model: str, size: int | None) -> None:
        advice = "enrol the pictures again in another file, or put the model that this one was made with back"
        if own.faces and own.model != model:
            raise GalleryError(
                f"{self.path}: its faces are embeddings of {own.model}, found {model}; those of two models "
                f"cannot be compared: {advice}"
            )
        if own.faces and size is not None and own.size != size:
            raise GalleryError(
                f"{self.path}: expected embeddings of {own.size} numbers, found {size}: {advice}"
            )

    def _set_model(self, model: str, size: int) -> None:
        self._database.executemany(
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", [("model", model), ("size", str(size))]
        )

    def _missing(self, pictures: Sequence[Picture]) -> list[int]:
        owners: dict[str, str] = {}
        positions = []
        for position, picture in enumerate(pictures):
            owner = owners.get(picture.sha256) or self._owner(picture.sha256)
            if owner is None:
                positions.append(position)
            elif owner != picture.person:
                raise GalleryError(
                    f"{picture.source}: this picture is there already as {owner!r}, found {picture.person!r}"
                )
            owners[picture.sha256] = picture.person
        return positions

    def _owner(self, sha256: str) -> str | None:
        row = self._database.execute("SELECT person FROM faces WHERE sha256 = ?", (sha256,)).fetchone()
        return row[0] if row else None

    def _check_room(self, more: int) -> None:
        faces = self._count()
        if faces + more > self._max_faces:
            raise GalleryError(
                f"{self.path}: expected at most {self._max_faces} faces, found {faces} and {more} to add"
            )

    # ---- the file

    def _make_file(self) -> None:
        """Makes an empty file, if there is none; SQLite itself would make it readable by others."""
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _ONLY_OWNER))
        except FileExistsError:
            return
        except OSError as error:
            raise GalleryError(f"{self.path}: cannot be made: {error.strerror}") from error

    def _check_format(self, create: bool) -> None:
        if create and self._is_empty():
            self._make_tables()
        if self._application() != _APPLICATION:
            raise GalleryError(f"{self.path}: expected a gallery, found another file")
        found = self._meta().get("format")
        if found != _FORMAT:
            raise GalleryError(f"{self.path}: expected a gallery of format {_FORMAT}, found {found}")

    def _make_tables(self) -> None:
        with self._transaction(change=True):
            # Another process may have been faster.
            if self._is_empty():
                self.path.chmod(_ONLY_OWNER)
                for statement in _SCHEMA:
                    self._database.execute(statement)
                self._database.execute("INSERT INTO meta (key, value) VALUES ('format', ?)", (_FORMAT,))

    def _application(self) -> int:
        (number,) = self._database.execute("PRAGMA application_id").fetchone()
        return int(number)

    def _is_empty(self) -> bool:
        (tables,) = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        return not tables and not self._application()

    @contextlib.contextmanager
    def _transaction(self, change: bool = False) -> Iterator[None]:
        """Shows one state of the file, or changes it in one step; any error takes the change back."""
        with self._told():
            # A change locks at once: one that first reads could find that another was made meanwhile.
            self._database.execute("BEGIN IMMEDIATE" if change else "BEGIN")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                # SQLite itself has ended the transaction after some errors.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
            if change:
                self._loaded = None

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Tells SQLite's errors with the file's name."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise GalleryError(
                    f"{self.path}: another command is changing it; try again after that"
                ) from error
            raise GalleryError(f"{self.path}: cannot be used: {_one_line(error)}") from error
        except sqlite3.ProgrammingError:
            # A wrong call, and no fault of the file.
            raise
        except sqlite3.DatabaseError as error:
            raise self._damaged(_one_line(error)) from error

    def _damaged(self, problem: str) -> GalleryError:
        return GalleryError(f"{self.path}: not a gallery, or damaged: {problem}")


def checked_name(name: str) -> str:
    """Returns a person's name as it is kept: composed (NFC), so that equal names are equal text.

    Raises:
        GalleryError: It is no name.
    """
    composed = unicodedata.normalize("NFC", name)
    if composed != composed.strip() or not 1 <= len(composed) <= MAX_NAME:
        raise GalleryError(
            f"person {_shortened(name)}: expected a name of 1 to {MAX_NAME} characters, no space around it"
        )
    if any(unicodedata.category(character) in _NOT_IN_NAMES for character in composed):
        raise GalleryError(f"person {_shortened(name)}: expected a name without control characters")
    return composed


def _shortened(name: str) -> str:
    # ascii: a terminal may be unable to show what is wrong with a name.
    return ascii(name) if len(name) <= MAX_NAME else f"{name[:40]!a}... of {len(name)} characters"


def _checked(picture: Picture) -> Picture:
    if not _SHA256.fullmatch(picture.sha256):
        raise GalleryError(f"{picture.source}: sha256: expected 64 hexadecimal digits")
    return Picture(checked_name(picture.person), picture.sha256, picture.source)


def _checked_embeddings(embeddings: np.ndarray, sources: Collection[str]) -> np.ndarray:
    """Returns embeddings as they are kept, float32 [N, D]; raises GalleryError if they cannot be any."""
    if embeddings.ndim != 2 or embeddings.dtype != np.float32 or len(embeddings) != len(sources):
        raise GalleryError(
            f"embeddings: expected float32 [{len(sources)}, size], "
            f"found {embeddings.dtype} {list(embeddings.shape)}"
        )
    if not 1 <= embeddings.shape[1] <= MAX_SIZE:
        raise GalleryError(f"embeddings: expected 1 to {MAX_SIZE} numbers, found {embeddings.shape[1]}")
    for source, fits in zip(sources, _lengths_are_one(embeddings), strict=True):
        if not fits:
            raise GalleryError(f"{source}: expected an embedding of finite numbers and length 1")
    return np.ascontiguousarray(embeddings, "<f4")


def _lengths_are_one(embeddings: np.ndarray) -> np.ndarray:
    """Says of each row, bool [N], whether its length is 1; NaN and infinity never are."""
    squares = np.einsum("nd,nd->n", embeddings, embeddings, dtype=np.float64)
    return np.abs(squares - 1.0) <= 2 * _LENGTH_TOLERANCE


def _nearest_persons(loaded: _Loaded, queries: np.ndarray, top: int) -> list[dict[str, float]]:
    """Returns for each query the nearest persons with their distances, the nearest first.

    The index knows faces only, and one person may have all the nearest: more and more of them are asked for.
    """
    wanted, faces = min(top, loaded.summary.persons), loaded.summary.faces
    looked_at = min(faces, _FIRST_FACES * wanted)
    while True:
        distances, rows = loaded.index.search(queries, looked_at)
        found = [_first_of_each(loaded.names, *pair, wanted) for pair in zip(distances, rows, strict=True)]
        if looked_at == faces or all(len(nearest) == wanted for nearest in found):
            return found
        looked_at = min(faces, looked_at * _FIRST_FACES)


def _first_of_each(
    names: Sequence[str], distances: np.ndarray, rows: np.ndarray, wanted: int
) -> dict[str, float]:
    nearest: dict[str, float] = {}
    for distance, row in zip(distances.tolist(), rows.tolist(), strict=True):
        nearest.setdefault(names[row], distance)
        if len(nearest) == wanted:
            break
    return nearest


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
