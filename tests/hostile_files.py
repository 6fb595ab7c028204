"""Files that somebody might send to do harm, or by mistake, made here byte by byte."""

import functools
import io
import re
import struct
import zipfile
import zlib

from PIL import Image
from portal_pictures import encoded

MARK = b"alert('mark-of-the-test')"
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>%s</script></svg>' % MARK
HTML = b"<!doctype html><script>%s</script>" % MARK


def noise(kind: str = "JPEG", size=(320, 240), **options) -> bytes:
    """A picture whose file is as long as a photo's."""
    buffer = io.BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(buffer, kind, **options)
    return buffer.getvalue()


def animated(kind: str) -> bytes:
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (64, 64), (value, 0, 0)) for value in (0, 100, 200)]
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:], duration=100)
    return buffer.getvalue()


# ---- PNG


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour: int, data: bytes, more: bytes = b"") -> bytes:
    """A PNG of packed rows; `more` are chunks before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", data) + chunk(b"IEND")


def with_chunks(more: bytes) -> bytes:
    """A small grey PNG with further chunks."""
    return png(64, 64, 8, 0, zlib.compress(b"\0" * 65 * 64), more)


@functools.cache
def huge_png() -> bytes:
    """A complete PNG of 60,000 x 60,000 black pixels, one bit each: half a megabyte for 3.6 billion."""
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + 60_000 // 8)
    packed = b"".join(packer.compress(row * 100) for _ in range(600)) + packer.flush()
    return png(60_000, 60_000, 1, 0, packed)


def large_png(pixels: int) -> bytes:
    """A complete PNG, 10,000 wide."""
    height = -(-pixels // 10_000)
    return png(10_000, height, 1, 0, zlib.compress(b"\0" * (1 + 10_000 // 8) * height))


def large_webp(width: int, height: int) -> bytes:
    """A complete WebP without losses, of one colour: 38 bytes, whatever its size."""
    buffer = io.BytesIO()
    Image.new("RGBA", (width, height), (90, 90, 90, 200)).save(buffer, "WEBP", lossless=True, method=0)
    return buffer.getvalue()


def text_bomb(kind: bytes) -> bytes:
    """A PNG with 100 MB of text in 100 kB."""
    text = zlib.compress(b"a" * 100_000_000, 9)
    return with_chunks(chunk(kind, b"k\0\0" + text if kind == b"zTXt" else b"k\0\1\0\0\0" + text))


# ---- JPEG


def scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again; each makes the decoder visit all pixels."""
    jpeg = encoded(size=(2000, 2000), progressive=True)
    last = jpeg[[found.start() for found in re.finditer(rb"\xff\xda", jpeg)][-1] : -2]
    return jpeg[:-2] + last * count + jpeg[-2:]


def with_segments(segment: bytes) -> bytes:
    jpeg = encoded(size=(64, 64))
    return jpeg[:2] + segment + jpeg[2:]


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as out:
        out.writestr("evil.js", MARK)
    return buffer.getvalue()
