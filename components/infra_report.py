"""What InfraValidator found out about a candidate, and the file that keeps it."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPORT_FILE = "report.json"


class BadModelError(Exception):
    """A model fails a check after which no other makes sense."""

    def __init__(self, check: str, detail: str) -> None:
        """Keeps what was checked, and what was expected and found."""
        super().__init__(f"{check}: {detail}")
        self.check = check
        self.detail = detail


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: What.
        detail: What was expected and found; empty where it passed.
    """

    name: str
    detail: str = ""


@dataclass
class InfraReport:
    """All that was looked at.

    Attributes:
        not_tried: Why the model server was not tried at all; empty where it was.
        checks: Every check, in order.
        recorded: Signatures that have a warm-up record.
        skipped: Why each of the other signatures was not asked, by its name.
        figures: Seconds and milliseconds, for the MLflow run.
        server_log: The end of the model server's log; empty where all went well.
    """

    not_tried: str = ""
    checks: list[Check] = field(default_factory=list)
    recorded: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    server_log: str = ""

    def note(self, name: str, detail: str = "") -> bool:
        """Adds a check; one with a detail has failed. Returns whether it passed."""
        self.checks.append(Check(name, detail))
        return not detail

    @property
    def reason(self) -> str:
        """Why the model is not blessed, in words; empty where it is."""
        failed = [check for check in self.checks if check.detail]
        if not failed:
            return self.not_tried
        more = f" (and {len(failed) - 1} more checks failed)" if len(failed) > 1 else ""
        return f"{failed[0].name}: {failed[0].detail}{more}"

    @property
    def blessed(self) -> bool:
        """Whether the model may be pushed."""
        return not self.reason

    def verdict(self) -> dict[str, Any]:
        """Returns the verdict as the run's table of verdicts has them."""
        return {
            "metric": "answers of the model server",
            "slice": "split eval",
            "rule": "those of the model itself",
            "value": None,
            "passed": self.blessed,
            "found": self.reason or f"{len(self.checks)} checks passed",
        }

    def save(self, folder: Path) -> None:
        """Writes the report, with the verdict in front."""
        verdict = {"blessed": self.blessed, "reason": self.reason}
        text = json.dumps(verdict | dataclasses.asdict(self), indent=1)
        (folder / REPORT_FILE).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "InfraReport":
        """Reads a report."""
        values = json.loads((folder / REPORT_FILE).read_text(encoding="utf-8"))
        del values["blessed"], values["reason"]
        values["checks"] = [Check(**check) for check in values["checks"]]
        return cls(**values)
