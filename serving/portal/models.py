"""What the portal keeps in its database: pictures for an hour, corrections, API keys, counts of requests."""

import uuid

from django.db import models


class Upload(models.Model):
    """A picture that a session sent; its pixels are in a file that the id names.

    Attributes:
        id: Random; it is no secret that protects the picture, the session is.
        session: Key of the session that may see it.
        created: When it came.
        width: Pixels.
        height: Pixels.
        size: Bytes that its file takes on the disk.
        sample: Whether it is one of the portal's own drawn samples, which are no data to train with.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    session = models.CharField(max_length=40, db_index=True)
    created = models.DateTimeField(auto_now_add=True, db_index=True)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    size = models.PositiveIntegerField(default=0)
    sample = models.BooleanField(default=False)


class Correction(models.Model):
    """A result that somebody said is wrong, with the right label and the consent to keep it for training.

    No image is corrected twice for a task: its labels could contradict each other, and the face of a pair
    would become several persons. By its hash it is known again, and by nothing else about it; a hash tells
    nothing of a person to those who do not have the very same image, and goes with the correction.

    Attributes:
        id: Random; who knows it can take the correction back.
        task: The application.
        span: Number of the span that it is in, the day as YYYYMMDD.
        label: What the right answer is, as the task's data sets have it, in JSON.
        name: By which files of the span are called; another one than the id, since reports of training tell
            names of files.
        size: Bytes of the pictures.
        giver: Keyed hash of the session and the day, by which what one session gives in a day is counted.
        sha256: Hash of the face or the picture that is kept, hexadecimal; of a pair the smaller one.
        other_sha256: The larger one of a pair, so that their order means nothing; else empty.
        model: Version of the model that was corrected.
        created: When consent was given.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    task = models.CharField(max_length=20, db_index=True)
    span = models.PositiveIntegerField()
    label = models.JSONField()
    name = models.CharField(max_length=20, unique=True)
    size = models.PositiveIntegerField()
    giver = models.CharField(max_length=64, db_index=True)
    sha256 = models.CharField(max_length=64)
    other_sha256 = models.CharField(max_length=64, default="", blank=True)
    model = models.CharField(max_length=80)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        """Finds images again."""

        constraints = (models.UniqueConstraint(fields=["task", "sha256"], name="one_correction_an_image"),)
        indexes = (models.Index(fields=["task", "other_sha256"], name="correction_other_image"),)


def bytes_of_all(kind: type[Upload] | type[Correction]) -> int:
    """Returns how many bytes all pictures of a kind have together."""
    return kind.objects.aggregate(total=models.Sum("size"))["total"] or 0


class ApiKey(models.Model):
    """A key of the API, of which only the hash is known here.

    Attributes:
        name: Whose it is.
        sha256: Hash of the key, hexadecimal.
        rate: Requests, such as 60/min.
        created: When it was made.
        revoked: When it ended; None while it is good.
    """

    name = models.CharField(max_length=80, unique=True)
    sha256 = models.CharField(max_length=64, unique=True)
    rate = models.CharField(max_length=20, default="60/min")
    created = models.DateTimeField(auto_now_add=True)
    revoked = models.DateTimeField(null=True, blank=True)


class Allowance(models.Model):
    """How much somebody has asked lately.

    Attributes:
        name: Keyed hash of an address or of a key's number.
        due: When all of it is worked off at their rate, in seconds since 1970; before now: nothing is left.
    """

    name = models.CharField(max_length=64, primary_key=True)
    due = models.FloatField(db_index=True)
