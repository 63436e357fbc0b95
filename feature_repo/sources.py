"""Turns a model's name into the Feast source of its published features. Never reads a file."""

import os

from feast import FileSource


def history_source(model: str) -> FileSource:
    """The Parquet files that selfheal publishes for the model, one a batch.

    DuckDB expands the pattern, including names that begin with a dot: unfinished files must not end in `.parquet`.
    """
    return FileSource(
        name=f"{model}_history",
        path=f"{os.environ['SELFHEAL_HOME']}/features/{model}/*.parquet",
        timestamp_field="event_timestamp",
        description=f"Features computed by feature_repo/transforms/{model}.sql.",
    )
