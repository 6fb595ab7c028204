"""Turns a graph's outputs into the results of Classify and Regress.

Checks and messages are those of servables/tensorflow/{classifier,regressor}.cc.
"""

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import classification_pb2, regression_pb2

from serving.model_server import tensors
from serving.model_server.errors import invalid


def classification_result(
    classes: np.ndarray | None, scores: np.ndarray | None, count: int
) -> classification_pb2.ClassificationResult:
    """Puts labels and scores together.

    Args:
        classes: string [count, C], or None.
        scores: float32 [count, C], or None.
        count: How many examples were sent.

    Raises:
        ServingError: The graph's outputs do not have these shapes and types.
    """
    for tensor, kind, dtype, dtype_name in (
        (classes, "classes", object, "DT_STRING"),
        (scores, "scores", np.float32, "DT_FLOAT"),
    ):
        if tensor is None:
            continue
        if tensor.ndim != 2:
            raise invalid(f"Expected Tensor shape: [batch_size num_classes] but got {_shape(tensor)}")
        if tensor.dtype != dtype:
            raise invalid(f"Expected {kind} Tensor of {dtype_name}. Got: {_type_name(tensor)}")
        if tensor.shape[0] != count:
            raise invalid(f"Expected {kind} output batch size of {count}. Got: {tensor.shape[0]}")
    if classes is not None and scores is not None and classes.shape[1] != scores.shape[1]:
        sizes = f"{classes.shape[1]} vs. {scores.shape[1]}"
        raise invalid(f"Tensors class and score should match in dim_size(1). Got {sizes}")
    result = classification_pb2.ClassificationResult()
    columns = next(tensor.shape[1] for tensor in (classes, scores) if tensor is not None)
    for row in range(count):
        classification = result.classifications.add()
        for column in range(columns):
            one = classification.classes.add()
            if classes is not None:
                one.label = classes[row, column].decode(errors="replace")
            if scores is not None:
                one.score = scores[row, column]
    return result


def regression_result(values: np.ndarray, count: int) -> regression_pb2.RegressionResult:
    """Puts numbers into a result.

    Args:
        values: float32 [count] or [count, 1].
        count: How many examples were sent.

    Raises:
        ServingError: The graph's output does not have this shape and type.
    """
    if values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] != 1):
        raise invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            + _shape(values)
        )
    if values.shape[0] != count:
        raise invalid(f"Input batch size did not match output batch size: {count} vs. {values.shape[0]}")
    if values.dtype != np.float32:
        raise invalid(f"Expected output Tensor of DT_FLOAT.  Got: {_type_name(values)}")
    result = regression_pb2.RegressionResult()
    for value in values.ravel().tolist():
        result.regressions.add(value=value)
    return result


def _shape(tensor: np.ndarray) -> str:
    return "[" + ",".join(map(str, tensor.shape)) + "]"


def _type_name(tensor: np.ndarray) -> str:
    return types_pb2.DataType.Name(tensors.dtype_of(tensor))
