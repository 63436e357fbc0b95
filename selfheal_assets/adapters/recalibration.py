"""Move a model's scores to another share of label 1: a booster in, the same trees with another intercept out."""

import json
from typing import Any

import numpy as np

from selfheal_assets.adapters.xgboost_trainer import XGBoostModel
from selfheal_assets.core.errors import TrainingError


def with_moved_logit(model: XGBoostModel, logit: float) -> XGBoostModel:
    """The model whose every score has its logit moved by `logit`, a natural number of log odds.

    XGBoost keeps the intercept as a probability, `base_score`: moving it moves every score, in every program that loads
    the file (Saerens, Latinne and Decaestecker 2002: with unmoved class-conditional distributions, a new prior is just
    that). Raises TrainingError for a model that has no such intercept, and for a logit that is not finite.
    """
    import xgboost

    if not np.isfinite(logit):
        raise TrainingError(f"a move of the logit must be a finite number; received {logit}. Give more labelled rows.")
    described: dict[str, Any] = json.loads(model.booster.save_raw("json"))
    try:
        found = described["learner"]["learner_model_param"]["base_score"]
        intercept = float(json.loads(found)[0]) if found.startswith("[") else float(found)
        moved = 1.0 / (1.0 + np.exp(-(np.log(intercept / (1.0 - intercept)) + logit)))
        described["learner"]["learner_model_param"]["base_score"] = json.dumps([float(moved)])
    except (KeyError, ValueError, TypeError, IndexError, ZeroDivisionError) as error:
        raise TrainingError(
            f"a model to be recalibrated must have the intercept of binary:logistic; received none "
            f"({error!r}). Retrain."
        ) from error
    booster = xgboost.Booster(model_file=bytearray(json.dumps(described).encode()))
    return XGBoostModel(
        booster=booster,
        schema=model.schema,
        parameters={**model.parameters, "logit_moved": float(logit)},
        best_iteration=model.best_iteration,
    )
