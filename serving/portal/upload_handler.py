"""Takes files of a form into memory, up to the size of a picture; Django's own writes them to disk."""

from typing import Any

from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.files.uploadhandler import FileUploadHandler

from serving.portal.assessment.pictures import MAX_BYTES
from serving.portal.web.errors import is_api

# Files of the largest form of a page: two pictures to compare.
_OF_A_PAGE = 2


class BoundedUploadHandler(FileUploadHandler):
    """Keeps at most a byte more than a picture may have: enough to tell that it is too large.

    The rest is read and forgotten, so that a browser gets to see the answer. So are files beyond those that a
    form has: whoever sends to a page needs no key, and memory is for all.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._left = settings.DATA_UPLOAD_MAX_NUMBER_FILES if is_api(self.request) else _OF_A_PAGE

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begins a file."""
        super().new_file(*args, **kwargs)
        self._chunks: list[bytes] = []
        self._room = MAX_BYTES + 1 if self._left > 0 else 0
        self._left -= 1

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
