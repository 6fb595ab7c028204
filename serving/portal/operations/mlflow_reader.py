"""Reads the figures of pushed models out of MLflow, which takes seconds and 200 MB to load: so a program.

Takes a JSON object from stdin, `{"uri": ..., "models": [[model, version, [experiment, ...]], ...]}`, and
writes a list of objects to stdout, one for each model that has a run; their keys are those of `Figures`.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

# As the pipelines write them (components/tracking.py).
_PUSHED, _BLESSED = "hexaface.pushed_to", "hexaface.blessed"
_FINGERPRINT = "hexaface.data_fingerprint"
_CHAMPION = "champion"


def read(uri: str, models: Sequence[tuple[str, int, Sequence[str]]]) -> Iterator[dict[str, Any]]:
    """Looks the runs of pushed models up.

    Args:
        uri: MLflow's store or server.
        models: Name, version and the experiments in which its run may be.

    Yields:
        The figures of each model that has a run.

    Raises:
        mlflow.exceptions.MlflowException: The server refuses or does not answer.
    """
    client = MlflowClient(uri)
    for model, version, experiments in models:
        for experiment in experiments:
            run = _run(client, experiment, model, version)
            if run is not None:
                champion = _champion(client, experiment)
                yield _figures(model, version, run, champion)
                break


def _run(client: MlflowClient, experiment: str, model: str, version: int) -> Run | None:
    """Finds the run that pushed a version, also where the workspace has been moved since."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    pushed = f"tags.`{_PUSHED}` LIKE '%/{model}/{version}'"
    runs = client.search_runs(
        [found.experiment_id], pushed, max_results=1, order_by=["attributes.start_time DESC"]
    )
    return runs[0] if runs else None


def _champion(client: MlflowClient, name: str) -> str:
    """Returns where the registered model's champion was pushed to; empty if there is none."""
    for model in client.search_registered_models(f"name = '{name}'"):
        if _CHAMPION in model.aliases:
            return client.get_model_version_by_alias(name, _CHAMPION).tags.get(_PUSHED, "")
    return ""


def _figures(model: str, version: int, run: Run, champion: str) -> dict[str, Any]:
    tags = run.data.tags
    return {
        "model": model,
        "version": version,
        "experiment_id": run.info.experiment_id,
        "run_id": run.info.run_id,
        "blessed": tags.get(_BLESSED, ""),
        "fingerprint": tags.get(_FINGERPRINT, ""),
        "champion": bool(champion) and champion == tags.get(_PUSHED),
        "metrics": dict(run.data.metrics),
    }


def main() -> None:
    """Answers one question."""
    question = json.load(sys.stdin)
    json.dump(list(read(question["uri"], question["models"])), sys.stdout)


if __name__ == "__main__":
    main()
