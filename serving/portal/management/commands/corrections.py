"""Lists the corrections that people gave, and how to train with them."""

import shlex
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from serving.portal.corrections import keeping
from serving.portal.corrections.indexes import BadIndex
from serving.portal.corrections.published import LAYOUTS


class Command(BaseCommand):
    """`hexaface-portal corrections`."""

    help = (
        "List how many corrections there are for each task and day, in which folders, and the option of "
        "`hexaface run` that reads them."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Lists."""
        spans = keeping.spans()
        try:
            found = {task: spans.counts(task) for task in LAYOUTS}
        except BadIndex as error:
            raise CommandError(str(error)) from error
        if not any(found.values()):
            self.stdout.write("no corrections")
            return
        for task, counts in found.items():
            folder = spans.folder(task)
            for span, count in counts.items():
                self.stdout.write(f"{task:<12}  {count:>6}  {folder / f'span-{span}'}")
        self.stdout.write("\nTo train with all of them, beside other data:")
        for task, counts in found.items():
            if counts:
                data = shlex.quote(str(spans.folder(task)))
                self.stdout.write(
                    f"  hexaface run {task} --data DIR --data {data} --set data.spans={len(counts)}"
                )
