"""What came of the imbalance study: tables, a page, numbers."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from components.evaluation import shares
from components.evaluation.imbalance_figures import Panel, draw_rounds
from components.evaluation.page import Page
from components.evaluation.shares import Corrected, Interval
from pipelines.classifier import Classifier
from pipelines.imbalance_study import RealResult, StudyOptions, StudyResult, part_name

RESULTS_FILE = "results.json"


def balance_rows(result: StudyResult) -> list[dict[str, Any]]:
    """Returns what came of each balance, as rows of a table by its headings; shares are in percent."""
    rows = []
    for each in result.balances:
        corrected = each.corrected(result.real.rates)
        rows.append(
            {
                "training images": f"{each.training_images:,}",
                "male in training": percent(each.training_male),
                "called male (mean)": percent(each.share),
                "95 % over rounds": percents(each.interval),
                "95 % over faces": percents(each.wilson),
                "called male if repeated": percent(shares.seen_share(each.training_male, result.real.rates)),
                "corrected": percent(corrected.share) if corrected else "undefined",
                "95 % corrected": percents(corrected.interval) if corrected else "",
            }
        )
    return rows


def real_row(real: RealResult) -> dict[str, str]:
    """Returns what the gender model says of real faces, by headings."""
    return {
        "real faces": f"{real.images:,}",
        "labelled male": percent(real.labelled_male),
        "called male": percent(real.called_male),
        "accuracy": percent(real.accuracy),
        "male called male": percent(real.rates.sensitivity),
        "female called female": percent(real.rates.specificity),
    }


def percent(share: float) -> str:
    """Writes a share, `-` for one without cases."""
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def percents(interval: Interval) -> str:
    """Writes an interval of shares."""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def notes(result: StudyResult, options: StudyOptions, classifier: Classifier) -> list[str]:
    """Returns what a reader of the tables must know, as paragraphs."""
    return [
        f"Each generator made {options.faces} faces {options.rounds} times, with the seeds {options.seed} to "
        f'{options.seed + options.rounds - 1}; {classifier.version} said what they are. "Over rounds" is the '
        "interval of the mean by Student's t; \"over faces\" is Wilson's, as if all faces were independent. "
        "Both tell of chance in drawing faces from these generators, and not of how generators trained with "
        "another seed would differ.",
        f"The gender model errs: of {result.real.images:,} real faces that no generator was trained on, made "
        f"as small as generated ones, {percent(result.real.labelled_male)} are labelled male and it calls "
        f'{percent(result.real.called_male)} male. "Called male if repeated" is what it would say of faces '
        'that repeat the training set; "corrected" is the share freed of these errors (Rogan and Gladen, '
        "1978), as far as it errs on generated faces as on real ones.",
        "A gender is the data sets' binary label, and what a model makes of a picture: no person is meant.",
    ]


def as_json(result: StudyResult, options: StudyOptions, about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all results as plain values; what is undefined is None."""
    rates = result.real.rates
    return {
        **about,
        "options": dataclasses.asdict(options),
        "balances": [
            {
                **dataclasses.asdict(each),
                "share": each.share,
                "interval_rounds": each.interval,
                "interval_faces": each.wilson,
                "share_if_repeated": _or_none(shares.seen_share(each.training_male, rates)),
                "corrected": _corrected(each.corrected(rates)),
            }
            for each in result.balances
        ],
        "real": {
            **{name: value for name, value in dataclasses.asdict(result.real).items() if name != "rates"},
            "sensitivity": _or_none(rates.sensitivity),
            "specificity": _or_none(rates.specificity),
            "male": rates.positives,
            "female": rates.negatives,
        },
    }


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _corrected(corrected: Corrected | None) -> dict[str, Any] | None:
    return {"share": corrected.share, "interval": corrected.interval} if corrected else None


def write_report(
    folder: Path,
    result: StudyResult,
    options: StudyOptions,
    classifier: Classifier,
    about: Mapping[str, Any],
) -> None:
    """Writes `report.html`, its tables and figure, and `results.json`.

    Args:
        folder: Where; made where missing.
        result: What was measured.
        options: What was asked.
        classifier: The gender model.
        about: How the study was made, plain values by name; `settings` may be nested.
    """
    page = Page(folder, "Imbalance study: do generated faces repeat the balance of the training set?")
    figure = page.figure("rounds", "Generated faces by gender as the model calls them, in each round")
    draw_rounds(figure, [Panel(each.training_male, each.male_counts, each.faces) for each in result.balances])
    names = [part_name(each.male_wanted) for each in result.balances]
    page.table("balances", "By training set", _frame(balance_rows(result), names, "training set"))
    page.table("gender_model", "The gender model, on real faces", _frame([real_row(result.real)], [""], ""))
    for note in notes(result, options, classifier):
        page.text(note)
    page.heading("Rounds")
    rounds = {name: each.male_counts for name, each in zip(names, result.balances, strict=True)}
    index = pd.RangeIndex(options.seed, options.seed + options.rounds, name="seed")
    page.table("rounds", f"Faces of {options.faces} called male", pd.DataFrame(rounds, index=index))
    page.heading("How it was made")
    rows = [{"value": str(value)} for name, value in _flat(about)]
    page.table("about", "Models, data, settings", _frame(rows, [name for name, _ in _flat(about)], "name"))
    page.save()
    text = json.dumps(as_json(result, options, about), indent=1) + "\n"
    (folder / RESULTS_FILE).write_text(text, encoding="utf-8")


def _frame(rows: Sequence[Mapping[str, Any]], names: Sequence[str], heading: str) -> pd.DataFrame:
    return pd.DataFrame(list(rows), index=pd.Index(names, name=heading))


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for name, value in values.items():
        flat += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(prefix + name, value)]
    return flat


def metrics(result: StudyResult) -> dict[str, float]:
    """Returns what MLflow gets, numbers by name."""
    found = {"real/accuracy": result.real.accuracy, "real/called_male": result.real.called_male}
    found["real/labelled_male"] = result.real.labelled_male
    for each in result.balances:
        name = part_name(each.male_wanted)
        found[f"{name}/training_male"] = each.training_male
        found[f"{name}/called_male"] = each.share
        found[f"{name}/called_male_low"], found[f"{name}/called_male_high"] = each.interval
        corrected = each.corrected(result.real.rates)
        if corrected:
            found[f"{name}/corrected_male"] = corrected.share
    return found
