"""Takes files of a form into memory, up to the size of a picture; Django's own writes them to disk."""

from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import FileUploadHandler

from serving.portal.assessment.pictures import MAX_BYTES


class BoundedUploadHandler(FileUploadHandler):
    """Keeps at most a byte more than a picture may have: enough to tell that it is too large.

    The rest is read and forgotten, so that a browser gets to see the answer.
    """

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begins a file."""
        super().new_file(*args, **kwargs)
        self._chunks: list[bytes] = []
        self._room = MAX_BYTES + 1

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Takes a part of the file."""
        if self._room > 0:
            self._chunks.append(raw_data[: self._room])
            self._room -= len(self._chunks[-1])

    def file_complete(self, file_size: int) -> SimpleUploadedFile:
        """Ends the file; its name is forgotten, since it may tell who is in the picture."""
        content = b"".join(self._chunks)
        self._chunks = []
        return SimpleUploadedFile("upload", content, "application/octet-stream")
