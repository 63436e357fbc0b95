"""The least that can serve the model over HTTP: FastAPI, its own validation, `inplace_predict`. Keeps nothing.

`SELFHEAL_BENCHMARK_MODEL` names the folder with the model's files.
"""

import json
import os
from pathlib import Path

import numpy as np
import xgboost
from fastapi import FastAPI
from pydantic import BaseModel, create_model

folder = Path(os.environ["SELFHEAL_BENCHMARK_MODEL"])
schema = json.loads((folder / "feature_schema.json").read_text(encoding="utf-8"))
names: list[str] = schema["names"]
codes = {name: {level: code for code, level in enumerate(levels)} for name, levels in schema["categories"].items()}
rounds = (0, schema["best_iteration"] + 1)
booster = xgboost.Booster({"nthread": 1}, model_file=folder / "model.ubj")
fields = {name: (str if name in codes else float, ...) for name in names}
Row = create_model("Row", payment_id=(str, ...), account_id=(str, ...), **fields)  # type: ignore[call-overload]


class PredictRequest(BaseModel):
    rows: list[Row]  # type: ignore[valid-type]


class PredictResponse(BaseModel):
    scores: list[float]


app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "alive"}


@app.post("/predict")
async def predict(request: PredictRequest) -> PredictResponse:
    matrix = np.empty((len(request.rows), len(names)), dtype=np.float32)
    for place, row in enumerate(request.rows):
        for column, name in enumerate(names):
            value = getattr(row, name)
            matrix[place, column] = codes[name].get(value, np.nan) if name in codes else value
    return PredictResponse(scores=booster.inplace_predict(matrix, iteration_range=rounds).tolist())
