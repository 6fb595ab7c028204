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
from components.readers.catalog import SPLIT_NOTES
from pipelines.classifier import Classifier
from pipelines.face_sheets import as_png, sheet
from pipelines.imbalance_study import BalanceResult, RealResult, StudyOptions, StudyResult, part_name

RESULTS_FILE = "results.json"
OUTSIDE = "outside 0 to 100 %: the model errs otherwise on these faces"
"""In the place of a corrected share that no share could have led to."""
_TRAINED_ON_THEM = (
    "Whether the gender model was trained on some of them is not known here; from the same CelebA folder it "
    "was not, but pictures of the same persons may have been."
)
# How much larger faces are drawn.
_SCALE = 2


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
                "corrected": _corrected_share(corrected),
                "95 % corrected": percents(corrected.interval) if corrected and corrected.interval else "",
            }
        )
    return rows


def _corrected_share(corrected: Corrected | None) -> str:
    if corrected is None:
        return "undefined"
    return percent(corrected.share) if corrected.interval else OUTSIDE


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
        "Each training set was drawn from as many images, about four fifths of which are for training: the "
        "table has the numbers.",
        f"Each generator made {options.faces} faces {options.rounds} times, with the seeds {options.seed} to "
        f'{options.seed + options.rounds - 1}; {classifier.version} said what they are. "Over rounds" is the '
        "interval of the mean by Student's t; \"over faces\" is Wilson's, as if all faces were independent. "
        "Both tell of chance in drawing faces from these generators, and not of how generators trained with "
        "another seed would differ.",
        f"The gender model errs: of {result.real.images:,} real faces of the test split, which no generator "
        "was trained on, made as small as generated ones, "
        f"{percent(result.real.labelled_male)} are labelled male and it calls "
        f'{percent(result.real.called_male)} male. "Called male if repeated" is what it would say of faces '
        'that repeat the training set; "corrected" is the share freed of these errors (Rogan and Gladen, '
        "1978), as far as it errs on generated faces as on real ones; it is undefined where the model is not "
        f"clearly better than chance. {_TRAINED_ON_THEM}",
        *(SPLIT_NOTES[source] for source in result.real.sources if source in SPLIT_NOTES),
        "A gender is the data sets' binary label, and what a model makes of a picture: no person is meant.",
    ]


def as_json(result: StudyResult, options: StudyOptions, about: Mapping[str, Any]) -> dict[str, Any]:
    """Returns all results as plain values; what is undefined is None.

    A corrected share has its `estimate` as the formula gives it, and the `share` and `interval` held to 0 to
    1, which are None where all of the interval lies outside.
    """
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
    if corrected is None:
        return None
    return {
        "estimate": corrected.estimate,
        "share": corrected.share if corrected.interval else None,
        "interval": corrected.interval,
    }


def write_report(
    folder: Path,
    result: StudyResult,
    options: StudyOptions,
    classifier: Classifier,
    about: Mapping[str, Any],
) -> None:
    """Writes `report.html`, its tables and figures, and `results.json`.

    Args:
        folder: Where; made where missing.
        result: What was measured.
        options: What was asked.
        classifier: The gender model.
        about: How the study was made, plain values by name; `settings` may be nested.
    """
    page = Page(folder, "Imbalance study: do generated faces repeat the balance of the training set?")
    figure = page.figure("rounds", "Generated faces by gender as the model calls them, in each round")
    draw_rounds(figure, [_panel(each, result.real) for each in result.balances])
    names = [part_name(each.male_wanted) for each in result.balances]
    page.table("balances", "By training set", _frame(balance_rows(result), names, "training set"))
    page.table("gender_model", "The gender model, on real faces", _frame([real_row(result.real)], [""], ""))
    for note in notes(result, options, classifier):
        page.text(note)
    page.heading("Faces")
    # Of an earlier study with other training sets.
    for earlier in (folder / "figures").glob("faces_*.png"):
        earlier.unlink()
    for name, faces in zip(names, result.shown, strict=True):
        page.text(f"The first faces of {name}, seed {options.seed}. They are generated: no person is shown.")
        sheet_file = page.figure(f"faces_{name}", f"Generated faces of {name}")
        note = f"generated by {name} of the imbalance study, seed {options.seed}"
        sheet_file.write_bytes(as_png(sheet(faces, _SCALE), note))
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


def _panel(balance: BalanceResult, real: RealResult) -> Panel:
    return Panel(
        male_trained=balance.training_male,
        male_counts=balance.male_counts,
        faces=balance.faces,
        interval=balance.interval,
        if_repeated=shares.seen_share(balance.training_male, real.rates),
    )


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
        if corrected and corrected.interval:
            found[f"{name}/corrected_male"] = corrected.share
    return found
