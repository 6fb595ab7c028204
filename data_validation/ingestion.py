"""The account of what was read: `ingestion.json`, written by FaceExampleGen, read by reports."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

INGESTION_FILE = "ingestion.json"
REJECTED_FILE = "rejected.jsonl"


@dataclass(frozen=True)
class Ingestion:
    """Counts of records by what became of them.

    Attributes:
        span: Newest span read, 0 without spans.
        content_fingerprint: Hash over all examples, whatever their order.
        records: Count by (split, source, labels); labels as sorted (feature, value) pairs.
        rejected: Count by (source, reason).
        dropped: Count by (source, reason).
        flags: Count of the values of ragged flags by (split, source, feature, value), such as of boxes that
            were clipped: `("train", "wider_face", "boxes/clipped", "1")`.
        alignment: Count of kept records by (split, source, outcome): aligned, or why a record was not; empty
            where no face was to be aligned.
        first_rejected: One rejected record's file, empty where there is none.
    """

    span: int
    content_fingerprint: str
    records: dict[tuple[str, str, tuple[tuple[str, str], ...]], int] = field(default_factory=dict)
    rejected: dict[tuple[str, str], int] = field(default_factory=dict)
    dropped: dict[tuple[str, str], int] = field(default_factory=dict)
    flags: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    alignment: dict[tuple[str, str, str], int] = field(default_factory=dict)
    first_rejected: str = ""

    @classmethod
    def load(cls, examples: Path, span: int | None = None) -> "Ingestion":
        """Reads the account beside some examples.

        Args:
            examples: Folder of the Examples artifact.
            span: Overrides the span, for the account that Beam has just written without one.

        Returns:
            The account.
        """
        summary = json.loads((examples / INGESTION_FILE).read_text(encoding="utf-8"))
        records: dict[tuple[str, str, tuple[tuple[str, str], ...]], int] = {}
        flags: dict[tuple[str, str, str, str], int] = {}
        alignment: dict[tuple[str, str, str], int] = {}
        left_out: dict[str, dict[tuple[str, str], int]] = {"rejected": {}, "dropped": {}}
        for (outcome, *key), count in summary["counts"]:
            if outcome == "records":
                split, source, labels = key
                records[split, source, tuple((name, value) for name, value in labels)] = count
            elif outcome == "flags":
                split, source, feature, value = key
                flags[split, source, feature, value] = count
            elif outcome == "alignment":
                split, source, reason = key
                alignment[split, source, reason] = count
            else:
                left_out[outcome][key[0], key[1]] = count
        return cls(
            span=summary.get("span", 0) if span is None else span,
            content_fingerprint=summary["content_fingerprint"],
            records=records,
            flags=flags,
            alignment=alignment,
            first_rejected=_first_rejected(examples),
            **left_out,
        )

    def save(self, examples: Path) -> None:
        """Writes the account beside the examples, sorted, with the span."""
        counts: list[list[Any]] = [[["records", *key], count] for key, count in self.records.items()]
        for outcome in ("rejected", "dropped", "flags", "alignment"):
            counts += [[[outcome, *key], count] for key, count in getattr(self, outcome).items()]
        summary = {
            "span": self.span,
            "content_fingerprint": self.content_fingerprint,
            "counts": sorted(counts),
        }
        (examples / INGESTION_FILE).write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")

    def total(self, outcome: str) -> int:
        """Returns how many records were `records` (kept), `rejected` or `dropped`."""
        return sum(getattr(self, outcome).values())

    def split_total(self, split: str) -> int:
        """Returns how many records a split holds."""
        return sum(count for (name, _, _), count in self.records.items() if name == split)

    def flag_total(self, feature: str, value: int = 1, split: str | None = None) -> int:
        """Counts how often a ragged flag has a value.

        Args:
            feature: Its feature name, e.g. `boxes/ignored`.
            value: The value to count.
            split: Count only in this split.
        """
        return sum(
            count
            for (name, _, flag, found), count in self.flags.items()
            if flag == feature and found == str(value) and split in (None, name)
        )

    def distribution(self, feature: str, split: str, source: str | None = None) -> Counter[str]:
        """Counts the values of a label.

        Args:
            feature: A label's feature name, e.g. `emotion`.
            split: The split to count in.
            source: Count only this data set's records.

        Returns:
            Count by label value.
        """
        counter: Counter[str] = Counter()
        for (name, origin, labels), count in self.records.items():
            if name == split and source in (None, origin):
                counter[dict(labels)[feature]] += count
        return counter


def _first_rejected(examples: Path) -> str:
    file = examples / REJECTED_FILE
    if not file.is_file():
        return ""
    with file.open(encoding="utf-8") as lines:
        line = lines.readline()
    return json.loads(line)["file"] if line.strip() else ""
