"""Small models with known answers, in the forms that servers meet."""

import shutil
from pathlib import Path

import tensorflow as tf

HALF_PLUS_TWO_VERSION = 123


def half_plus_two(base: Path) -> Path:
    """TF1: y = x / 2 + 2 with reference variables; the signatures of the binary's own test model."""
    tf1 = tf.compat.v1
    folder = base / f"{HALF_PLUS_TWO_VERSION:08d}"
    builder = tf1.saved_model.Builder(str(folder))
    with tf.Graph().as_default(), tf1.Session() as session:
        half = tf1.get_variable("a", initializer=0.5, use_resource=False)
        two = tf1.get_variable("b", initializer=2.0, use_resource=False)
        three = tf1.get_variable("c", initializer=3.0, use_resource=False)
        serialized = tf1.placeholder(tf.string, [None], name="tf_example")
        features = {
            "x": tf1.FixedLenFeature([1], tf.float32),
            "x2": tf1.FixedLenFeature([1], tf.float32, [0.0]),
        }
        parsed = tf1.parse_example(serialized, features)
        x = tf.identity(parsed["x"], name="x")
        y = tf.add(half * x, two, name="y")
        y3 = tf.add(half * x, three, name="y3")
        session.run(tf1.global_variables_initializer())
        info, signature = tf1.saved_model.build_tensor_info, tf1.saved_model.build_signature_def
        examples = {"inputs": info(serialized)}
        signatures = {
            "serving_default": signature({"x": info(x)}, {"y": info(y)}, "tensorflow/serving/predict"),
            "regress_x_to_y": signature(examples, {"outputs": info(y)}, "tensorflow/serving/regress"),
            "regress_x_to_y3": signature(examples, {"outputs": info(y3)}, "tensorflow/serving/regress"),
            "classify_x_to_y": signature(examples, {"scores": info(y)}, "tensorflow/serving/classify"),
        }
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return folder


class Adder(tf.Module):
    """TF2: y = x / 2 + b, and whatever else a contract must be tried with."""

    def __init__(self, b: float) -> None:
        super().__init__()
        self.b = tf.Variable(b)
        table = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64))
        self.table = tf.lookup.StaticHashTable(table, -1)

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def serve(self, x):
        return {"y": x * 0.5 + self.b}

    @tf.function(
        autograph=False,
        input_signature=[
            tf.TensorSpec([None], tf.float32, name="x"),
            tf.TensorSpec([None], tf.int32, name="n"),
        ],
    )
    def two(self, x, n):
        return {"sum": x + tf.cast(n, tf.float32), "twice_bytes": tf.strings.as_string(2 * n)}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="word")])
    def look_up(self, word):
        return {"number": self.table.lookup(word), "echo_bytes": word}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.string, name="image_bytes")])
    def size(self, image_bytes):
        def one(encoded):
            image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
            return tf.shape(image)[:2]

        return {"size": tf.map_fn(one, image_bytes, fn_output_signature=tf.int32)}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.int32, name="rounds")])
    def slow(self, rounds):
        """Multiplies matrices `rounds` times, about 2 ms each."""

        def step(i, m):
            return i + 1, m @ m / tf.reduce_max(tf.abs(m))

        start = tf.random.stateless_uniform([400, 400], [1, 2])
        _, m = tf.while_loop(lambda i, m: i < tf.reduce_max(rounds), step, [0, start])
        return {"done": rounds + tf.cast(m[0, 0] * 0.0, tf.int32)}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([], tf.float32, name="x")])
    def scalar(self, x):
        return {"y": x + self.b}

    @tf.function(autograph=False, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    def ragged(self, x):
        return {"all": x, "first": x[:1]}


def adder(base: Path, version: int, b: float) -> Path:
    """Saves an `Adder`."""
    module, folder = Adder(b), base / str(version)
    names = ("two", "look_up", "size", "slow", "scalar", "ragged")
    signatures = {name: getattr(module, name).get_concrete_function() for name in names}
    signatures["serving_default"] = module.serve.get_concrete_function()
    tf.saved_model.save(module, str(folder), signatures=signatures)
    return folder


def tflite(saved_model: Path, base: Path, version: int) -> Path:
    """Converts the default signature of a SavedModel."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model), signature_keys=["serving_default"])
    folder = base / str(version)
    folder.mkdir(parents=True)
    (folder / "model.tflite").write_bytes(converter.convert())
    return folder


def push(folder: Path, base: Path, version: int) -> Path:
    """Puts a copy of a saved model into a base path as a version, whole from the first moment."""
    base.mkdir(exist_ok=True)
    hidden = base.parent / f".{base.name}-{version}"
    shutil.copytree(folder, hidden)
    target = base / str(version)
    hidden.rename(target)
    return target
