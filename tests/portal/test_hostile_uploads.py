"""What hostile or broken uploads do to a portal that runs as in production: nothing."""

import html
import http.client
import io
import re
import socket
import uuid
import zipfile
import zlib

import hostile_files as hostile
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_servers import PROJECT
from PIL import Image
from portal_pictures import encoded
from portal_server import Portal, Visitor

from serving.portal.assessment.pictures import MAX_BYTES, BadImage, Picture, receive
from serving.portal.middleware import MAX_BODY_BYTES

NAME = "anna-at-the-hospital.jpg"
MEGABYTE = 1 << 20

NO_PICTURE = "This is no picture that can be read: please choose a JPEG, PNG or WebP."
DAMAGED = "The picture is damaged or incomplete: it cannot be decoded."
TOO_LARGE = "The file is too large: at most 10 MB can be taken."
ANIMATION = "Animations cannot be taken; please choose a single picture."
EMPTY = "The file is empty."
INCOMPLETE = "The form is not complete, or has more parts than any form here."

REFUSED = {
    "text": (lambda: b"I am a picture, believe me.\n" * 40, NO_PICTURE),
    "svg": (lambda: hostile.SVG, NO_PICTURE),
    "html before jpeg": (lambda: hostile.HTML + encoded(), NO_PICTURE),
    "gif and script": (lambda: b"GIF89a/*" + bytes(40) + b"*/=1;" + hostile.MARK, NO_PICTURE),
    "gif": (lambda: hostile.animated("GIF"), NO_PICTURE),
    "bmp": (lambda: encoded(kind="BMP"), NO_PICTURE),
    "pdf": (lambda: encoded(kind="PDF"), NO_PICTURE),
    "zip before jpeg": (lambda: hostile.archive() + encoded(), NO_PICTURE),
    "no bytes": (lambda: b"", EMPTY),
    "apng": (lambda: hostile.animated("PNG"), ANIMATION),
    "animated webp": (lambda: hostile.animated("WEBP"), ANIMATION),
    "60,000 x 60,000": (
        hostile.huge_png,
        "The picture is too large: at most 40 million pixels, 16 million of a WebP.",
    ),
    "50 million pixels": (
        lambda: hostile.large_png(50_000_000),
        "The picture is too large: 10000 x 5000 pixels, at most 40 million.",
    ),
    "webp of 40 million pixels": (
        lambda: hostile.large_webp(8000, 5000),
        "The picture is too large: 8000 x 5000 pixels, at most 16 million of a WebP.",
    ),
    "zTXt bomb": (lambda: hostile.text_bomb(b"zTXt"), DAMAGED),
    "iTXt bomb": (lambda: hostile.text_bomb(b"iTXt"), DAMAGED),
    "500 scans": (lambda: hostile.scans(500), DAMAGED),
    "a million chunks": (lambda: hostile.with_chunks(hostile.chunk(b"prVt") * 800_000), DAMAGED),
    "a million segments": (lambda: hostile.with_segments(b"\xff\xe9\0\2" * 2_000_000), DAMAGED),
    "a long row of markers": (lambda: hostile.with_segments(b"\xff" * 9 * MEGABYTE), DAMAGED),
    "jpeg cut in the header": (lambda: hostile.noise()[:20], NO_PICTURE),
    "jpeg cut in the tables": (lambda: hostile.noise()[:300], DAMAGED),
    "jpeg cut at a tenth": (lambda: _cut(hostile.noise(), 0.1), DAMAGED),
    "jpeg cut at half": (lambda: _cut(hostile.noise(), 0.5), DAMAGED),
    "jpeg cut near the end": (lambda: _cut(hostile.noise(), 0.98), DAMAGED),
    "png cut at half": (lambda: _cut(hostile.noise("PNG"), 0.5), DAMAGED),
    "webp cut at half": (lambda: _cut(hostile.noise("WEBP"), 0.5), DAMAGED),
    "too small": (
        lambda: encoded(size=(8, 300)),
        "The picture is too small: a side has 8 pixels, at least 16.",
    ),
    "11 MB": (lambda: hostile.noise() + bytes(MAX_BYTES), TOO_LARGE),
}


def _cut(data: bytes, share: float) -> bytes:
    return data[: int(share * len(data))]


@pytest.fixture
def visitor(running) -> Visitor:
    return Visitor(running)


@pytest.fixture
def unharmed(running: Portal):
    """Checks afterwards that nothing was stored or told, and that the portal works as before."""
    held, told = running.holds(), len(running.log)
    yield running
    assert running.holds() == held
    log = running.log[told:]
    assert "portal.requests" in log
    for secret in ("Traceback", "hospital", "uploads/", *map(str, held.pictures)):
        assert secret not in log
    other = Visitor(running)
    result = other.upload(encoded())
    assert "Face 1" in other.get(result).text
    other.session.post(
        f"{running.url}/uploads/{result.split('/')[2]}/forget/", {"csrfmiddlewaretoken": other.token()}
    )


def assert_told(answer: requests.Response, status: int, sentence: str) -> None:
    """An answer tells people what is wrong, and nobody anything about the machine."""
    assert answer.status_code == status, answer.text
    assert sentence in html.unescape(answer.text)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    for secret in ("Traceback", "site-packages", str(PROJECT), "hospital", "PIL", "serving."):
        assert secret not in answer.text


# ---- pictures that are none


@pytest.mark.parametrize("name", REFUSED)
def test_refused_and_told_why(unharmed, visitor, name):
    make, sentence = REFUSED[name]
    data = make()
    page = visitor.send("detection", image=data, name=NAME)
    assert_told(page, 400, sentence)
    assert "<form" in page.text
    fragment = visitor.send("detection", image=data, name=NAME, fragment=True)
    assert_told(fragment, 400, sentence)
    assert "<html" not in fragment.text


def test_a_good_picture_is_not_kept_where_the_other_is_bad(unharmed, visitor):
    answer = visitor.send("verification", first=encoded(), second=hostile.SVG, name=NAME)
    assert_told(answer, 400, NO_PICTURE)


@pytest.mark.parametrize(
    "name", ["60,000 x 60,000", "webp of 40 million pixels", "zTXt bomb", "iTXt bomb", "500 scans"]
)
def test_a_bomb_takes_neither_memory_nor_time(unharmed, visitor, name):
    make, sentence = REFUSED[name]
    data = make()
    assert len(data) < MEGABYTE
    before = unharmed.forget_peak()
    answer = visitor.send("everything", image=data, name=NAME)
    assert_told(answer, 400, sentence)
    assert unharmed.peak() - before < 40 * MEGABYTE
    assert answer.elapsed.total_seconds() < 8


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_the_largest_picture_takes_bounded_memory(running, visitor, kind):
    """As many pixels as are taken, with transparency: the worst of each format."""
    data = _saved("RGBA", (90, 90, 90, 200), size=(8000, 5000), compress_level=1)
    if kind == "webp":
        data = hostile.large_webp(5000, 3200)
    before = running.forget_peak()
    result = visitor.upload(data)
    assert running.peak() - before < 400 * MEGABYTE
    assert max(Image.open(io.BytesIO(visitor.shown(result).content)).size) == 1920


def test_fifty_megabytes_are_answered(unharmed, visitor):
    before = unharmed.forget_peak()
    answer = visitor.send("detection", image=b"\xff\xd8\xff" + bytes(50 * MEGABYTE), name=NAME)
    assert_told(answer, 400, TOO_LARGE)
    # What is kept of a file is a byte more than may come in, in pieces and then in one.
    assert unharmed.peak() - before < 45 * MEGABYTE


def test_a_form_longer_than_any_is_answered_without_being_read(unharmed):
    before = unharmed.forget_peak()
    connection = http.client.HTTPConnection(unharmed.host, unharmed.port, timeout=60)
    headers = {"Content-Length": str(MAX_BODY_BYTES + 1), "Content-Type": "multipart/form-data; boundary=b"}
    # Of which a browser has sent so much before it sees the answer.
    connection.request("POST", "/detection/", (bytes(MEGABYTE) for _ in range(60)), headers)
    answer = connection.getresponse()
    assert answer.status == 413
    assert TOO_LARGE in answer.read().decode()
    assert unharmed.peak() - before < 20 * MEGABYTE
    connection.close()


# ---- polyglots: a picture and something else


@pytest.mark.parametrize(
    "data",
    [
        encoded() + hostile.archive(),
        encoded() + hostile.HTML,
        hostile.with_segments(b"\xff\xfe" + (len(hostile.HTML) + 2).to_bytes(2, "big") + hostile.HTML),
        hostile.with_segments(b"\xff\xe1" + (len(hostile.SVG) + 2).to_bytes(2, "big") + hostile.SVG),
        encoded(kind="PNG") + hostile.archive(),
        hostile.with_chunks(hostile.chunk(b"tEXt", b"Comment\0" + hostile.HTML)),
        encoded(kind="WEBP", xmp=hostile.SVG),
    ],
    ids=["zip", "html", "comment", "app1", "png and zip", "png text", "webp xmp"],
)
def test_of_a_polyglot_only_the_picture_is_kept(running, visitor, data):
    assert hostile.MARK in data
    result = visitor.upload(data)
    served = visitor.shown(result).content
    kept = (running.data / "uploads" / f"{result.split('/')[2]}.jpg").read_bytes()
    assert served == kept
    assert hostile.MARK not in kept
    assert not zipfile.is_zipfile(io.BytesIO(kept))
    assert kept.startswith(b"\xff\xd8")
    assert kept.endswith(b"\xff\xd9")


def test_how_a_picture_is_served(visitor):
    headers = visitor.shown(visitor.upload(encoded())).headers
    assert headers["Content-Type"] == "image/jpeg"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in headers["Cache-Control"]
    assert "private" in headers["Cache-Control"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert "Set-Cookie" not in headers


# ---- metadata and colours


def test_where_and_how_a_photo_was_taken_is_forgotten(visitor):
    photo = Image.new("RGB", (320, 160), (200, 20, 20))
    photo.paste((20, 20, 200), (160, 0, 320, 160))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera of Anna"
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 36.0)}
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", exif=exif, comment=b"Anna", xmp=b"<x:xmpmeta>Anna</x:xmpmeta>")
    assert buffer.getvalue().count(b"Anna") == 3
    served = visitor.shown(visitor.upload(buffer.getvalue())).content
    for word in (b"Exif", b"Anna", b"xmp", b"Camera"):
        assert word not in served
    with Image.open(io.BytesIO(served)) as shown:
        assert not shown.getexif()
        # Turned to the right: what was at the left is at the top.
        assert shown.size == (160, 320)
        assert _near(shown.getpixel((80, 40)), (200, 20, 20))
        assert _near(shown.getpixel((80, 280)), (20, 20, 200))


def _near(colour: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(colour, expected, strict=True)) <= 6


def _saved(mode: str, colour, kind: str = "PNG", size=(300, 200), **options) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, kind, **options)
    return buffer.getvalue()


def _palette(**options) -> bytes:
    image = Image.new("P", (2400, 1600), 1)
    image.putpalette([255, 0, 0, 30, 90, 150])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def _phone() -> bytes:
    """A photo with a second picture behind it, as phones write them (MPO)."""
    buffer = io.BytesIO()
    photo, other = Image.new("RGB", (300, 200), (30, 90, 150)), Image.new("L", (30, 20), 9).convert("RGB")
    photo.save(buffer, "MPO", save_all=True, append_images=[other])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(_saved("RGB", (30, 90, 150)), (30, 90, 150), id="rgb"),
        pytest.param(_saved("L", 120), (120, 120, 120), id="grey"),
        pytest.param(_saved("L", 120, "JPEG"), (120, 120, 120), id="grey jpeg"),
        pytest.param(_saved("1", 1), (255, 255, 255), id="one bit"),
        pytest.param(_saved("1", 0, size=(4000, 3000)), (0, 0, 0), id="large one bit"),
        pytest.param(_saved("I;16", 0x7F80), (127, 127, 127), id="16 bits grey"),
        pytest.param(_saved("I;16", 0x7F80, size=(3000, 2400)), (127, 127, 127), id="large 16 bits"),
        pytest.param(
            hostile.png(64, 64, 16, 2, zlib.compress((b"\0" + b"\x1e\0\x5a\0\x96\0" * 64) * 64)),
            (30, 90, 150),
            id="16 bits rgb",
        ),
        pytest.param(_saved("RGBA", (0, 0, 0, 0)), (255, 255, 255), id="transparent"),
        pytest.param(_saved("RGBA", (0, 0, 0, 128), size=(3000, 2000)), (127, 127, 127), id="half"),
        pytest.param(_saved("LA", (100, 255)), (100, 100, 100), id="grey and alpha"),
        pytest.param(_saved("RGBA", (0, 90, 0, 0), "WEBP"), (255, 255, 255), id="transparent webp"),
        pytest.param(_palette(), (30, 90, 150), id="palette"),
        pytest.param(_palette(transparency=1), (255, 255, 255), id="transparent palette"),
        pytest.param(_saved("CMYK", (225, 165, 105, 0), "JPEG"), (30, 90, 150), id="cmyk"),
        pytest.param(_phone(), (30, 90, 150), id="phone"),
    ],
)
def test_unusual_pictures_keep_their_colours(visitor, data, expected):
    served = visitor.shown(visitor.upload(data)).content
    with Image.open(io.BytesIO(served)) as shown:
        assert shown.mode == "RGB"
        assert max(shown.size) <= 1920
        assert _near(shown.getpixel((shown.width // 2, shown.height // 2)), expected)


# ---- names


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/hospital.jpg",
        "..\\..\\hospital.jpg",
        "/etc/cron.d/hospital",
        "hospital" * 30 + ".jpg",
        "hospital\u202egpj.exe",
        "<script>hospital</script>.jpg",
        "hospital'; drop table portal_upload; --.jpg",
        "hospital%00.jpg",
        "hospital\r\nX-Evil: 1.jpg",
        "\u75c5\u9662hospital.jpg",
        "hospital.php",
        "CON",
    ],
)
def test_the_name_of_a_file_means_nothing(running, visitor, name):
    before, told = running.holds(), len(running.log)
    result = visitor.upload(encoded(), name=name)
    uuid.UUID(result.split("/")[2])
    page = visitor.get(result)
    assert page.status_code == 200
    assert "hospital" not in page.text
    assert "hospital" not in running.log[told:]
    after = running.holds()
    assert len(after.pictures) == len(before.pictures) + 1
    assert after.others == before.others


@pytest.mark.parametrize(
    ("name", "status", "sentence"),
    [
        ("hospital" * 1000 + ".jpg", 400, INCOMPLETE),
        ("", 400, "Please choose a picture first."),
        ("..", 400, "Please choose a picture first."),
    ],
)
def test_names_that_are_none(unharmed, visitor, name, status, sentence):
    body, kind = _multipart(visitor.token(), encoded(), name)
    answer = visitor.session.post(f"{unharmed.url}/detection/", body, headers={"Content-Type": kind})
    assert_told(answer, status, sentence)


def _multipart(token: str, picture: bytes, name: str = NAME) -> tuple[bytes, str]:
    """A form, byte by byte; libraries would mend the name."""
    field = '--b\r\nContent-Disposition: form-data; name="'
    head = f'{field}csrfmiddlewaretoken"\r\n\r\n{token}\r\n{field}image"; filename="{name}"\r\n\r\n'
    return head.encode() + picture + b"\r\n--b--\r\n", "multipart/form-data; boundary=b"


# ---- requests


def _raw(portal: Portal, visitor: Visitor, headers: str, body: bytes) -> tuple[int, str]:
    """Sends what no library would, and no more; returns status and all that comes back."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in visitor.session.cookies)
    head = f"POST /detection/ HTTP/1.1\r\nHost: localhost\r\nCookie: {cookies}\r\n{headers}\r\n\r\n"
    with socket.create_connection((portal.host, portal.port), timeout=30) as connection:
        connection.sendall(head.encode("latin-1") + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    return int(answer.split()[1]), answer


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (lambda body: None, 403),
        (lambda body: "0", 403),
        (lambda body: "-5", 400),
        (lambda body: "many", 400),
        (lambda body: "\u00b2", 400),
        (lambda body: "9" * 4000, 413),
        (lambda body: "9" * 5000, 400),
        (lambda body: f"{len(body)}\r\nContent-Length: 10", 400),
        (lambda body: str(len(body) // 2), 400),
        (lambda body: str(2 * len(body)), 400),
        (lambda body: f"{len(body)}\r\nTransfer-Encoding: chunked", 400),
    ],
    ids=[
        "none",
        "zero",
        "negative",
        "word",
        "superscript",
        "4000 digits",
        "5000 digits",
        "two",
        "half",
        "double",
        "both",
    ],
)
def test_lengths_that_lie(unharmed, visitor, length, status):
    body, kind = _multipart(visitor.token(), hostile.noise(size=(1200, 900)))
    told, headers = length(body), f"Content-Type: {kind}\r\nConnection: close"
    # Of the form of double length, half comes.
    sent = body[: len(body) // 2] if told == str(2 * len(body)) else body
    code, answer = _raw(
        unharmed, visitor, headers if told is None else f"{headers}\r\nContent-Length: {told}", sent
    )
    assert code == status
    for secret in ("Traceback", "hospital", str(PROJECT)):
        assert secret not in answer


@pytest.mark.django_db
def test_a_page_for_a_wrong_host_has_its_headers_also_with_https(client, portal):
    portal.SECURE_SSL_REDIRECT = True
    answer = client.get("/", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert "not known by this name" in answer.content.decode()
    assert "default-src 'none'" in answer["Content-Security-Policy"]
    assert answer["X-Frame-Options"] == "DENY"


def test_a_body_in_chunks_must_tell_its_length(unharmed, visitor):
    body, kind = _multipart(visitor.token(), encoded())
    answer = visitor.session.post(
        f"{unharmed.url}/detection/", data=iter([body]), headers={"Content-Type": kind}, timeout=30
    )
    assert_told(answer, 411, "The request does not tell its length (Content-Length), and was not read.")


@pytest.mark.parametrize(
    "parts",
    [
        [("image", ("a.jpg", encoded()))] * 17,
        [(f"field{number}", (None, "x")) for number in range(300)],
        [("text", (None, "x" * 2 * MEGABYTE))],
    ],
    ids=["files", "fields", "long field"],
)
def test_forms_with_more_parts_than_any(unharmed, visitor, parts):
    files = [("csrfmiddlewaretoken", (None, visitor.token())), *parts]
    answer = visitor.session.post(f"{unharmed.url}/detection/", files=files, timeout=30)
    assert_told(answer, 400, INCOMPLETE)


@pytest.mark.parametrize(
    ("kind", "body"),
    [("multipart/form-data", b"x"), ("multipart/form-data; boundary=" + "b" * 300, b"x")],
)
def test_forms_that_cannot_be_read(unharmed, visitor, kind, body):
    visitor.token()  # or the cookie that comes with it would be missed first
    answer = visitor.session.post(f"{unharmed.url}/detection/", body, headers={"Content-Type": kind})
    assert_told(answer, 400, INCOMPLETE)


@pytest.mark.parametrize("fragment", [False, True])
def test_a_form_of_another_site(unharmed, fragment):
    answer = requests.post(
        f"{unharmed.url}/detection/",
        files={"image": (NAME, encoded())},
        headers={"X-Fragment": "result"} if fragment else {},
        timeout=30,
    )
    assert_told(answer, 403, "This form is too old, or your browser sends no cookies.")
    assert ("<html" in answer.text) != fragment


# ---- pictures of others


def test_the_picture_of_another_session_is_as_none(running, visitor):
    place = visitor.upload(encoded()).split("/")[2]
    stranger = Visitor(running)
    token = stranger.token()
    stranger.upload(encoded((200, 200, 200)))  # so that there is a session

    def asked(upload: object) -> list[tuple]:
        headers = {"X-Request-ID": "the-same-id"}
        paths = [f"/uploads/{upload}.jpg", f"/detection/{upload}/", f"/verification/{upload}/{upload}/"]
        answers = [stranger.get(path, headers=headers) for path in paths]
        answers.append(
            stranger.session.post(
                f"{running.url}/uploads/{upload}/forget/", {"csrfmiddlewaretoken": token}, headers=headers
            )
        )
        times = ("Date", "Expires", "Server-Timing")
        shown = [
            {name: value for name, value in each.headers.items() if name not in times} for each in answers
        ]
        assert [each.status_code for each in answers] == [404] * 4
        return [(each.content, headers) for each, headers in zip(answers, shown, strict=True)]

    assert asked(place) == asked(uuid.uuid4())
    assert visitor.get(f"/uploads/{place}.jpg").status_code == 200


def test_refusals_do_not_tell_the_path(running, visitor):
    """Nor does the log, in which paths would name uploads."""
    unknown, told = uuid.uuid4(), len(running.log)
    answer = visitor.get(f"/detection/{unknown}/")
    assert_told(answer, 404, "There is nothing here.")
    assert str(unknown) not in answer.text + running.log[told:]


# ---- connections


def test_clients_that_keep_connections_open_hold_up_nobody(running):
    ask = b"GET /privacy/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    idle = [socket.create_connection((running.host, running.port)) for _ in range(6)]
    try:
        for connection in idle:
            connection.sendall(ask)
            assert connection.recv(9) == b"HTTP/1.1 "
        assert requests.get(f"{running.url}/", timeout=30).elapsed.total_seconds() < 6
    finally:
        for connection in idle:
            connection.close()


# ---- the door itself

_BASES = [
    hostile.noise("JPEG", (40, 40)),
    hostile.noise("JPEG", (40, 40), progressive=True),
    hostile.noise("PNG", (40, 40)),
    hostile.noise("WEBP", (40, 40)),
    encoded(size=(40, 40), kind="WEBP", lossless=True),
    _saved("P", 3, size=(40, 40), transparency=3),
    _phone(),
    hostile.animated("PNG"),
]
_CHANGES = st.lists(
    st.tuples(
        st.integers(0, 2000), st.sampled_from(["set", "cut", "insert"]), st.binary(min_size=1, max_size=8)
    ),
    min_size=1,
    max_size=6,
)


def _changed(data: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    for place, what, new in changes:
        at = place % (len(data) + 1)
        data = (
            data[:at] + (b"" if what == "cut" else new) + data[at + (0 if what == "insert" else len(new)) :]
        )
    return _with_sums(data) if data.startswith(b"\x89PNG\r\n\x1a\n") else data


def _with_sums(data: bytes) -> bytes:
    """Mends the checksums of a PNG's chunks, or most changes would end there."""
    parts, at = [data[:8]], 8
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        parts.append(hostile.chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join(parts)


def _let_in(data: bytes) -> None:
    """A picture comes in as such, or its sender is told why not; there is nothing else."""
    try:
        picture = receive(data)
    except BadImage as error:
        assert re.fullmatch(r"[A-Z].*\.", str(error))
    else:
        assert isinstance(picture, Picture)
        assert picture.rgb.size == (picture.width, picture.height)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=2000), st.sampled_from([b"", *(base[:16] for base in _BASES)]))
def test_any_bytes_at_the_door(data, begin):
    _let_in(begin + data)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(_BASES), _CHANGES)
def test_changed_pictures_at_the_door(base, changes):
    _let_in(_changed(base, changes))


@pytest.mark.parametrize("count", [10, 30])
def test_photos_with_many_scans_are_pictures(count):
    assert receive(hostile.scans(count)).width == 1920
