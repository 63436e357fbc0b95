"""Answer for Evidently's default drift preset, in its own environment: Parquet files in, verdicts out. Never plots.

`DataDriftPreset()` begins with `DriftedColumnsCount(drift_share=0.5)`, which is the verdict on the dataset: it fails
when at least half of the columns drifted. A column's default test depends on the reference alone (evidently/legacy/
calculations/stattests/registry.py): with more than 1,000 rows, normed Wasserstein distance >= 0.1 for numbers and
Jensen-Shannon distance >= 0.1 for categories; with fewer, p < 0.05. The preset's other metrics draw each column and
take six times as long; so after the first batch, on which both are asked and must agree, the verdict alone is asked.
"""

import json
import sys
from typing import Any

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import DriftedColumnsCount
from evidently.presets import DataDriftPreset

DRIFT_SHARE = 0.5


def verdict(report: Report, reference: Dataset, batch: Dataset) -> dict[str, Any]:
    found = report.run(batch, reference).dict()
    counted = next(m for m in found["metrics"] if m["metric_name"].startswith("DriftedColumnsCount"))
    failed = next(t for t in found["tests"] if t["name"].startswith("Share of Drifted Columns"))
    return {"dataset_drift": str(failed["status"]).endswith("FAIL"), "share": float(counted["value"]["share"])}


def main() -> None:
    verdict_alone = Report([DriftedColumnsCount(drift_share=DRIFT_SHARE)], include_tests=True)
    agreed = False
    for line in sys.stdin:
        asked = json.loads(line)
        before, after = (pd.read_parquet(asked[side]) for side in ("reference", "batch"))
        kinds = DataDefinition(
            numerical_columns=[name for name in before if name not in asked["categorical"]],
            categorical_columns=asked["categorical"],
        )
        reference, batch = (Dataset.from_pandas(frame, data_definition=kinds) for frame in (before, after))
        answer = verdict(verdict_alone, reference, batch)
        if not agreed:
            whole = verdict(Report([DataDriftPreset()], include_tests=True), reference, batch)
            if whole != answer:
                raise SystemExit(f"the preset says {whole}, and its first metric alone {answer}")
            agreed = True
        print(json.dumps(answer), flush=True)


if __name__ == "__main__" and "--check" not in sys.argv:
    main()
