"""selfheal: a Dagster asset graph that keeps production tabular models healthy by itself."""
