"""The `hexaface study` commands: experiments on what models take from their data."""

import datetime
import shlex
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from data_validation.errors import InputError, one_line
from pipelines.cli_options import WorkspaceOption
from pipelines.shown_run import run_shown, sample_folder
from pipelines.tasks import get_task

if TYPE_CHECKING:
    from pipelines.classifier import Classifier
    from pipelines.imbalance_study import BalanceResult, StudyOptions, StudyResult, TrainedGenerator
    from pipelines.settings import Workspace
    from pipelines.task_settings import SynthesisSettings

study_app = typer.Typer(
    help="Experiments: what models take from the data that they are trained on.", no_args_is_help=True
)
console = Console()
errors = Console(stderr=True)

_TASK = "synthesis"
_MALE = (0.3, 0.5, 0.7)
_MOST_BALANCES = 9
_MAX_FACES, _MAX_ROUNDS, _MAX_REAL = 1000, 1000, 100_000
_MAX_SEED = 2**63 - 1
# Of "95.0 to 100.0 %": what is longer goes on in the next line.
_FIGURE_WIDTH = 15


@study_app.callback()
def _study() -> None:
    """Keeps the name of a study on the command line though there is one only."""


@study_app.command("imbalance")
def imbalance(
    data: Annotated[
        list[Path] | None,
        typer.Option(
            "--data",
            help="A data folder with CelebA; give it again to combine folders: each is cut to what the "
            "smallest can give. Without, drawn sample data.",
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="demo, cpu, paper, or a YAML file.")] = "demo",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a setting, e.g. train.epochs=3."),
    ] = None,
    male: Annotated[
        list[float] | None,
        typer.Option(
            metavar="SHARE",
            help="Share of men in a training set, 0 to 1; give it again for each. Without, 0.3, 0.5 and 0.7.",
        ),
    ] = None,
    faces: Annotated[int, typer.Option(help="Faces that each generator makes in a round.")] = 60,
    rounds: Annotated[int, typer.Option(help="Rounds, 2 or more.")] = 10,
    seed: Annotated[int, typer.Option(help="Of the first round's faces; the others have the next ones.")] = 1,
    real: Annotated[int, typer.Option(help="Most real faces that the gender model is asked about.")] = 1000,
    workspace: WorkspaceOption = None,
) -> None:
    """Train generators on training sets of other balance, and let the gender model say what they make.

    Training sets are drawn from as many images, about four fifths of which are for training. Generators are
    trained in <workspace>/studies/imbalance and never pushed; the report is written there too. It takes a
    training for each balance, which --set train.epochs= shortens. An interrupted study goes on when it is
    started again. It needs a pushed gender model.
    """
    balances = _balances(male)
    _check_number("--faces", faces, 1, _MAX_FACES)
    _check_number("--rounds", rounds, 2, _MAX_ROUNDS)
    _check_number("--seed", seed, 0, _MAX_SEED - rounds)
    _check_number("--real", real, 1, _MAX_REAL)
    from pipelines import settings
    from pipelines.settings import Workspace

    values: Any = settings.load(profile, _TASK, overrides or [])
    if values.data.balance.male is not None:
        raise InputError(
            "data.balance.male: expected none, since the study sets it; choose balances with --male"
        )
    place = Workspace.at(workspace)
    if not data:
        place = place.for_samples()
    from pipelines import imbalance_report, imbalance_study, sources
    from pipelines.classifier import Classifier

    if data:
        # What is misspelt is told before a model is missed.
        sources.check(tuple(data), get_task(_TASK), values.data)
    classifier = Classifier(imbalance_study.gender_model(place), "gender")
    folders = tuple(data) if data else (sample_folder(get_task(_TASK), place, console),)
    size = _size(folders, values, balances)
    trained = _train(folders, values, place, balances, size)
    options = imbalance_study.StudyOptions(faces, rounds, seed, real)
    result = _measure(trained, classifier, options)
    about = _about(classifier, values, place, folders, size, result)
    folder = place.studies(imbalance_study.STUDY)
    imbalance_report.write_report(folder, result, options, classifier, about)
    _tell(result, options, classifier)
    _track(place, folder, result, about)
    _say(f"report: {folder / 'report.html'}")


# ---- what is given


def _balances(given: Sequence[float] | None) -> tuple[float, ...]:
    from pipelines.imbalance_study import part_name

    balances = tuple(sorted(given)) if given else _MALE
    if len(balances) > _MOST_BALANCES:
        raise InputError(f"--male: expected at most {_MOST_BALANCES} balances, found {len(balances)}")
    for share in balances:
        # Also false for NaN.
        if not 0.0 <= share <= 1.0:
            raise InputError(f"--male {share:g}: expected a share from 0 to 1")
    names = [part_name(share) for share in balances]
    twice = next((share for share in balances if names.count(part_name(share)) > 1), None)
    if twice is not None:
        raise InputError(f"--male {twice:g}: given twice")
    return balances


def _check_number(option: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InputError(f"{option} {value}: expected {least} to {most}")


def _size(folders: Sequence[Path], values: "SynthesisSettings", balances: Sequence[float]) -> int:
    """Returns how many images each data folder gives, for any balance.

    Raises:
        InputError: The data cannot be read, or are too few.
    """
    from components.readers.catalog import select_spans
    from pipelines.imbalance_study import FEMALE, MALE, common_size

    places = [place for folder in folders for place in select_spans(folder, values.data.spans)[0]]
    genders = {place: _genders(place) for place in places}
    most = values.data.max_images
    size = common_size(list(genders.values()), balances, most)
    # Four fifths are for training: at least one step, and some more.
    least = 2 * values.train.batch_size
    if size >= least:
        return size
    if most and size == most:
        raise InputError(f"data.max_images: expected at least {least} (twice train.batch_size), found {most}")
    smallest = min(places, key=lambda place: common_size([genders[place]], balances, 0))
    raise InputError(
        f"--male: expected at least {least} images of each balance (twice train.batch_size), found {size}: "
        f"{smallest} has {genders[smallest][MALE]} male and {genders[smallest][FEMALE]} female; choose "
        "balances nearer to that of the data"
    )


def _genders(place: Path) -> "Counter[str]":
    """Counts the images of a data folder that can be read, by gender.

    Raises:
        InputError: No genders are known.
    """
    from components.readers.catalog import ReaderOptions, open_readers
    from components.readers.celeba import ATTRIBUTES, LABEL
    from data_validation.labels import UNKNOWN

    readers = open_readers(place, ReaderOptions(label=LABEL))
    genders = Counter(item.gender for reader in readers for item in reader.items() if not item.fault)
    if set(genders) == {UNKNOWN}:
        raise InputError(f"{place}: expected {ATTRIBUTES}, found none")
    return genders


# ---- what is done


def _train(
    folders: tuple[Path, ...],
    values: "SynthesisSettings",
    place: "Workspace",
    balances: Sequence[float],
    size: int,
) -> "list[TrainedGenerator]":
    """Trains a generator for each balance, in a workspace of its own."""
    from tfx.utils import path_utils

    from pipelines.imbalance_report import percent
    from pipelines.imbalance_study import LAST_NODE, STUDY, TrainedGenerator, balanced, part_name
    from pipelines.local import RunRequest

    trained = []
    for number, male in enumerate(balances, start=1):
        which = f"training set {number} of {len(balances)}"
        _say(f"{which}: {percent(male)} male, {size} images of each data folder")
        study_place = place.for_study(STUDY, part_name(male))
        request = RunRequest(
            get_task(_TASK), balanced(values, male, size), study_place, folders, until_node=LAST_NODE
        )
        outputs = {node.node: node.outputs for node in run_shown(request, console, errors).nodes}
        model = Path(path_utils.serving_model_path(outputs[LAST_NODE]["model"]))
        trained.append(TrainedGenerator(male, model, Path(outputs["FaceExampleGen"]["examples"])))
    return trained


def _measure(
    trained: "Sequence[TrainedGenerator]", classifier: "Classifier", options: "StudyOptions"
) -> "StudyResult":
    from pipelines.imbalance_study import measure
    from pipelines.pictures import progress

    _say(f"asking {classifier.version} about generated and real faces")
    total = len(trained) * options.faces * options.rounds + options.real
    with progress(total, errors) as advance:
        return measure(trained, classifier, options, advance)


def _track(place: "Workspace", folder: Path, result: "StudyResult", about: Mapping[str, Any]) -> None:
    """Sends the study to MLflow; a dead server is told of and fails nothing."""
    from components.tracking import log_study
    from pipelines.imbalance_report import RESULTS_FILE, metrics
    from pipelines.imbalance_study import STUDY
    from trainers.mlflow_curves import SERVER_ERRORS

    study = place.for_study(STUDY, "results")
    files = [folder / name for name in ("report.html", RESULTS_FILE, "tables", "figures")]
    try:
        run_id = log_study(
            study.tracking_uri, study.artifact_root, study.experiment(STUDY), about, metrics(result), files
        )
    except SERVER_ERRORS as error:
        errors.print(
            f"MLflow does not answer, this study is not tracked: {one_line(error)}",
            style="yellow",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
        return
    _say(f"MLflow run {run_id} in the experiment {study.experiment(STUDY)}")


# ---- what is told


def _about(
    classifier: "Classifier",
    values: "SynthesisSettings",
    place: "Workspace",
    folders: Sequence[Path],
    size: int,
    result: "StudyResult",
) -> dict[str, Any]:
    from pipelines.imbalance_study import part_name

    # The study sets these.
    settings = values.as_dict()
    settings["data"] = {**settings["data"], "balance": "by training set", "max_images": size}
    return {
        "date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}",
        "command": shlex.join(["hexaface", *sys.argv[1:]]),
        "gender_model": classifier.version,
        "trained_on": "sample" if place.demo else "real",
        "folders": ", ".join(str(folder) for folder in folders),
        "data_fingerprints": {part_name(each.male_wanted): each.data_fingerprint for each in result.balances},
        "settings": settings,
    }


def _tell(result: "StudyResult", options: "StudyOptions", classifier: "Classifier") -> None:
    from pipelines.imbalance_report import balance_rows, notes, real_row

    columns = dict(zip(map(_trained_on, result.balances), balance_rows(result), strict=True))
    console.print(_upright("Generated faces, as the gender model calls them", columns))
    console.print(_upright("The gender model, on real faces", {"": real_row(result.real)}))
    _say(*notes(result, options, classifier))


def _trained_on(balance: "BalanceResult") -> str:
    return f"{100 * balance.male_wanted:g} % male"


def _upright(title: str, columns: Mapping[str, Mapping[str, str]]) -> Table:
    """Lays out figures by their headings, a column each of what they are of: a terminal is narrow."""
    table = Table(title=title, title_justify="left", show_header=any(columns))
    table.add_column("")
    for name in columns:
        table.add_column(name, justify="right", min_width=_FIGURE_WIDTH)
    for heading in next(iter(columns.values())):
        table.add_row(heading, *(values[heading] for values in columns.values()))
    return table


def _say(*lines: str) -> None:
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)
