"""Files of pictures that have far more parts than any picture needs, which keep a decoder busy for minutes.

A JPEG of 200 kB can have the decoder go over all of its pixels five hundred times; a file of ten megabytes
can consist of a million empty segments or chunks. Neither is told by the size of the picture.
"""

import re

MAX_PARTS = 10_000
"""Segments of a JPEG or chunks of a PNG; the largest photos have some thousand chunks of 4 kB."""
MAX_SCANS = 64
"""Of a progressive JPEG; ten are usual."""

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
# Compressed data has no marker in it but those of restarts, and 0xFF only with a zero behind it.
_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
_SCAN, _END = b"\xda", b"\xd9"
# Markers that begin no segment.
_ALONE = (b"\x01", b"\xd8")


def has_too_many(encoded: bytes) -> bool:
    """Tells whether a file has so many parts that its decoding takes far longer than that of a picture."""
    if encoded.startswith(_PNG):
        return _chunks(encoded) > MAX_PARTS
    if encoded.startswith(_JPEG):
        segments, scans = _segments(encoded)
        return segments > MAX_PARTS or scans > MAX_SCANS
    return False


def _chunks(png: bytes) -> int:
    """Counts the chunks of a PNG; more than MAX_PARTS are not counted on."""
    count, position = 0, len(_PNG)
    while position < len(png) and count <= MAX_PARTS:
        # Length, type, data, checksum.
        position += 12 + int.from_bytes(png[position : position + 4], "big")
        count += 1
    return count


def _segments(jpeg: bytes) -> tuple[int, int]:
    """Counts the segments of a JPEG, and scans among them; what is between segments counts byte by byte."""
    segments = scans = 0
    position, in_scan = len(_JPEG), False
    while segments <= MAX_PARTS and scans <= MAX_SCANS:
        marker = _MARKER.search(jpeg, position)
        if marker is None or marker[1] == _END:
            break
        segments += 1 if in_scan else marker.end() - position - 1
        in_scan = marker[1] == _SCAN
        scans += in_scan
        length = b"" if marker[1] in _ALONE else jpeg[marker.end() : marker.end() + 2]
        position = marker.end() + int.from_bytes(length, "big")
    return segments, scans
