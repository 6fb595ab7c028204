"""Brings the curated schema into the pipeline."""

import os

from tfx.dsl.io import fileio

from components.compat import tfx


@tfx.dsl.components.component
def CuratedSchema(
    schema: tfx.dsl.components.OutputArtifact[tfx.types.standard_artifacts.Schema],
    text: tfx.dsl.components.Parameter[str],
) -> None:
    """Writes a schema that people wrote and reviewed; data that drifts must not redefine what is right.

    TFX's ImportSchemaGen knows the file by its path only, so that an edited schema would be answered with the
    old one from cache.

    Args:
        schema: Where to write.
        text: The schema as text protocol buffer.
    """
    with fileio.open(os.path.join(schema.uri, "schema.pbtxt"), "w") as file:
        file.write(text)
