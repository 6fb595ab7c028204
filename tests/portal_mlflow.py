"""An MLflow store with runs as the pipelines leave them; a program, since tests of the portal load no MLflow.

python tests/portal_mlflow.py STORE.db MODELS_FOLDER VERSION
"""

import sys

from mlflow import MlflowClient

METRICS = {
    "emotion": {"evaluation/split_test/accuracy": 0.625, "evaluation/split_test/macro_f1": float("nan")},
    "age": {"evaluation/split_test/mae": 7.25, "evaluation/split_eval/mae": 1.0},
}


def main(store: str, folder: str, version: str) -> None:
    client = MlflowClient(f"sqlite:///{store}")
    for model, metrics in METRICS.items():
        experiment = client.create_experiment(model, artifact_location=f"{folder}/artifacts")
        # The run of an older version, which must not be shown.
        for number, blessed in ((int(version) - 1, "false"), (int(version), "true")):
            run = client.create_run(experiment)
            tags = {
                "hexaface.pushed_to": f"{folder}/{model}/{number}",
                "hexaface.blessed": blessed,
                "hexaface.data_fingerprint": f"{number:x}" + "ab" * 16,
            }
            for name, value in tags.items():
                client.set_tag(run.info.run_id, name, value)
            for name, value in metrics.items():
                client.log_metric(run.info.run_id, name, value if blessed == "true" else -1.0)
            client.set_terminated(run.info.run_id)
            print(model, number, experiment, run.info.run_id)
    # As `components.tracking` registers what was pushed.
    client.create_registered_model("emotion")
    tags = {"hexaface.pushed_to": f"{folder}/emotion/{version}"}
    made = client.create_model_version("emotion", f"{folder}/artifacts", tags=tags)
    client.set_registered_model_alias("emotion", "champion", made.version)


if __name__ == "__main__":
    main(*sys.argv[1:])
