"""Packaging. Beam workers and container images install the project with this file."""

from pathlib import Path

from setuptools import find_packages, setup

ROOMS = ["pipelines", "components", "trainers", "data_validation", "serving"]

setup(
    name="hexaface",
    version="0.1.0",
    description="Six facial applications as TFX pipelines: train, validate, track, serve.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=[pattern for room in ROOMS for pattern in (room, f"{room}.*")]),
    package_data={
        "pipelines": ["profiles/*.yaml"],
        "data_validation": ["schemas/*.pbtxt"],
        "serving": [
            "compose.yaml",
            "wire/wire.proto",
            "portal/templates/portal/*.html",
            "portal/static/portal/*",
            "portal/static/portal/samples/*",
        ],
    },
    # Versions are the lock's business (requirements/); these are the direct needs.
    install_requires=[
        "aiohttp",
        "apache-beam[gcp]",
        "dj-database-url",
        "django>=5.2,<5.3",
        "django-csp",
        "django-ninja",
        "grpcio",
        "google-crc32c",
        "gunicorn",
        "grpcio-health-checking",
        "h5py",
        "honcho",
        "matplotlib",
        "mlflow",
        "numpy",
        "orjson",
        "pandas",
        "pillow",
        "psycopg[binary]",
        "pydantic>=2",
        "pyyaml",
        "rich",
        "scikit-learn",
        "scipy",
        "tensorflow-serving-api",
        "tf-keras",
        "tfx",
        "typer",
        "urllib3",
        "whitenoise",
    ],
    entry_points={
        "console_scripts": [
            "hexaface=pipelines.cli:main",
            "hexaface-model-server=serving.model_server.__main__:main",
            "hexaface-portal=serving.portal.manage:main",
        ]
    },
)
