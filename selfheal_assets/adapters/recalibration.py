"""Move a model's scores to another share of label 1: a booster in, the same trees with another intercept out."""

import json
from typing import Any

import numpy as np
from scipy.special import expit
from scipy.special import logit as log_odds

from selfheal_assets.adapters.xgboost_trainer import XGBoostModel
from selfheal_assets.core.errors import TrainingError

PRECISION = 0.01
"""How far the log odds that are kept may lie from those that were meant."""


def with_moved_logit(model: XGBoostModel, logit: float) -> XGBoostModel:
    """The model whose every score has its logit moved by `logit`, a natural number of log odds.

    XGBoost keeps the intercept as a probability, `base_score`: moving it moves every score, in every program that loads
    the file (Saerens, Latinne and Decaestecker 2002: with unmoved class-conditional distributions, a new prior is just
    that). Raises TrainingError for a model that has no such intercept, for a logit that is not finite, and for one that
    moves the intercept so near 0 or 1 that XGBoost's single precision does not hold it.
    """
    import xgboost

    if not np.isfinite(logit):
        raise TrainingError(f"a move of the logit must be a finite number; received {logit}. Give more labelled rows.")
    described: dict[str, Any] = json.loads(model.booster.save_raw("json"))
    wanted = _log_odds(described) + logit
    moved = np.float32(expit(wanted))
    if not 0.0 < moved < 1.0 or abs(float(log_odds(float(moved))) - wanted) > PRECISION:
        raise TrainingError(
            f"a moved intercept must be a share that a model can keep; received log odds of {wanted:.1f} after a move "
            f"by {logit:.1f}. Look at the labels: nearly all of them are the same."
        )
    described["learner"]["learner_model_param"]["base_score"] = json.dumps([float(moved)])
    booster = xgboost.Booster(model_file=bytearray(json.dumps(described).encode()))
    return XGBoostModel(
        booster=booster,
        schema=model.schema,
        parameters={**model.parameters, "logit_moved": float(model.parameters.get("logit_moved", 0.0)) + float(logit)},
        best_iteration=model.best_iteration,
    )


def _log_odds(described: dict[str, Any]) -> float:
    """The intercept of a booster in XGBoost's own JSON."""
    try:
        learner = described["learner"]
        objective, found = learner["objective"]["name"], learner["learner_model_param"]["base_score"]
        intercept = float(json.loads(found)[0]) if found.startswith("[") else float(found)
    except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        objective, intercept = repr(error), float("nan")
    if objective != "binary:logistic" or not 0.0 < intercept < 1.0:
        raise TrainingError(
            f"a model to be recalibrated must have the intercept of binary:logistic; received one of {objective} with "
            f"{intercept}. Retrain."
        )
    return float(log_odds(intercept))
