"""Lists the corrections that people gave, and how to train with them."""

import shlex
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from serving.portal.corrections import keeping
from serving.portal.corrections.indexes import BadIndex
from serving.portal.corrections.published import LAYOUTS


class Command(BaseCommand):
    """`hexaface-portal corrections [--forget-removed]`."""

    help = (
        "List how many corrections there are for each task and day, in which folders, and the option of "
        "`hexaface run` that reads them."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Adds the option."""
        parser.add_argument(
            "--forget-removed",
            action="store_true",
            help="Forget corrections whose files you removed. Only while their folder is mounted: what is "
            "forgotten cannot be taken back by those who gave it.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Lists, or forgets."""
        if options["forget_removed"]:
            self._forget()
        else:
            self._list()

    def _forget(self) -> None:
        try:
            gone = keeping.forget_removed()
        except OSError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{gone} corrections forgotten")

    def _list(self) -> None:
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
