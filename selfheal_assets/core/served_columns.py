"""Name the columns that the prediction log adds to a landed batch, and their reserved prefix. Holds no value."""

RESERVED = "selfheal_"
"""Columns of a landed batch that begin so are the model server's word on its answers, never part of the event."""

SCORE = f"{RESERVED}score"
"""What was answered."""
VERSION = f"{RESERVED}version"
"""The version that answered."""
ARM = f"{RESERVED}arm"
ROLLOUT = f"{RESERVED}rollout"
"""Id of the rollout that was under way; missing without one."""
LEVEL = f"{RESERVED}level"
"""Where the features came from."""
LATENCY_MS = f"{RESERVED}latency_ms"
CHAMPION_SCORE = f"{RESERVED}champion_score"
"""Missing where no champion scored the row; likewise the challenger's."""
CHALLENGER_SCORE = f"{RESERVED}challenger_score"
FEATURE = f"{RESERVED}feature_"
"""Followed by the name of a feature: its value as it was used."""


def is_reserved(column: str) -> bool:
    """Whether the column belongs to the prediction log."""
    return column.startswith(RESERVED)
