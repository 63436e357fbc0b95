"""Open a Great Expectations project that is quiet and keeps what is asked. Never prints, never calls home."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from great_expectations.data_context.data_context.ephemeral_data_context import EphemeralDataContext


def expectation_types() -> Any:
    """The module of expectations; its first import takes seconds, and warns about Python's own modules."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations.expectations as expectations
    return expectations


def open_project(folder: Path | None) -> "EphemeralDataContext":
    """A project that keeps all in memory, or its results and Data Docs in the folder."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    defaults = InMemoryStoreBackendDefaults()
    if folder is not None:
        results, site = (
            {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(folder / name)}
            for name in ("results", "site")
        )
        defaults.stores[defaults.validation_results_store_name]["store_backend"] = results
        docs = {"class_name": "SiteBuilder", "show_how_to_buttons": False, "store_backend": site}
        defaults.data_docs_sites = {"site": docs}
    quiet = ProgressBarsConfig(globally=False, metric_calculations=False)
    config = DataContextConfig(store_backend_defaults=defaults, analytics_enabled=False, progress_bars=quiet)
    return gx.get_context(project_config=config, mode="ephemeral")
