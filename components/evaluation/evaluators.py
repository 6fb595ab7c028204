"""What evaluators of all kinds are given, and TFX's own one."""

from dataclasses import dataclass
from typing import Any

import tensorflow_model_analysis as tfma
from tfx.dsl.components.base.base_node import BaseNode

from components.compat import tfx

__all__ = ["BaseNode", "EvaluatorInputs"]


@dataclass(frozen=True)
class EvaluatorInputs:
    """Channels of what is judged.

    Attributes:
        examples: Examples, of which the splits `eval` and `test` are looked at.
        model: The candidate.
        baseline_model: The latest blessed model; may resolve to nothing.
        schema: Of the examples.
        code_fingerprint: For the cache of evaluators of the project's own.
        cache: Folder where downloads are kept; for evaluators that need weights.
        embedding_model: The verification model whose embeddings images are compared by, where they are.
        gender_model: The gender model that is asked about generated images, where there is one.
    """

    examples: Any
    model: Any
    baseline_model: Any
    schema: Any
    code_fingerprint: str
    cache: str = ""
    embedding_model: Any = None
    gender_model: Any = None

    def tfma_evaluator(self, eval_config: tfma.EvalConfig) -> BaseNode:
        """Returns TFX's Evaluator."""
        return tfx.components.Evaluator(
            examples=self.examples,
            model=self.model,
            baseline_model=self.baseline_model,
            schema=self.schema,
            example_splits=["eval", "test"],
            eval_config=eval_config,
        )
