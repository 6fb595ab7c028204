"""Which earlier model a new one is compared with, or stands on."""

from typing import Any

from components.compat import tfx


class LatestOtherBlessedModelStrategy(tfx.dsl.experimental.ResolverStrategy):
    """Resolves the latest blessed model that is not the candidate.

    TFX's own LatestBlessedModelStrategy would find the candidate itself once it is blessed, so that a second
    run with nothing changed would compare a model with itself, and nothing after it would come from cache.
    """

    def resolve_artifacts(
        self, store: Any, input_dict: dict[str, list[tfx.dsl.Artifact]]
    ) -> dict[str, list[tfx.dsl.Artifact]]:
        """Chooses among the models of this pipeline.

        Args:
            store: Not used; ML Metadata.
            input_dict: `model` and `model_blessing`, all of the pipeline, and `candidate`, this run's model.

        Returns:
            The same keys; `model` and `model_blessing` hold one artifact each, or none.
        """
        del store
        candidates = {artifact.id for artifact in input_dict["candidate"]}
        blessings = {
            blessing.get_int_custom_property("current_model_id"): blessing
            for blessing in sorted(input_dict["model_blessing"], key=lambda blessing: blessing.id)
            if blessing.get_int_custom_property("blessed") == 1
        }
        models = [
            model for model in input_dict["model"] if model.id in blessings and model.id not in candidates
        ]
        # By blessing, not by model: an older model that was blessed again is the one that serves.
        latest = max(models, key=lambda model: blessings[model.id].id, default=None)
        return {
            "candidate": input_dict["candidate"],
            "model": [latest] if latest else [],
            "model_blessing": [blessings[latest.id]] if latest else [],
        }


class LatestServableModelStrategy(tfx.dsl.experimental.ResolverStrategy):
    """Resolves the latest model that both the Evaluator and InfraValidator have blessed.

    TFX's own LatestBlessedModelStrategy knows the Evaluator's verdict only.
    """

    def resolve_artifacts(
        self, store: Any, input_dict: dict[str, list[tfx.dsl.Artifact]]
    ) -> dict[str, list[tfx.dsl.Artifact]] | None:
        """Chooses among the models of a pipeline.

        Args:
            store: Not used; ML Metadata.
            input_dict: `model`, `model_blessing` and `infra_blessing`, all of the pipeline.

        Returns:
            The same keys with one artifact each; None where no model is blessed by both.
        """
        del store
        blessings = {
            key: {
                blessing.get_int_custom_property("current_model_id"): blessing
                for blessing in sorted(input_dict[key], key=lambda blessing: blessing.id)
                if blessing.get_int_custom_property("blessed") == 1
            }
            for key in ("model_blessing", "infra_blessing")
        }
        judged, tried = blessings.values()
        models = [model for model in input_dict["model"] if model.id in judged and model.id in tried]
        # By verdict, as above.
        latest = max(models, key=lambda model: tried[model.id].id, default=None)
        if latest is None:
            return None
        return {
            "model": [latest],
            "model_blessing": [judged[latest.id]],
            "infra_blessing": [tried[latest.id]],
        }
