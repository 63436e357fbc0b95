"""Draw what the assets found: plain data in, PNG bytes out. Never opens a window or a file."""

from selfheal_assets.stages.plots.canvas import as_markdown
from selfheal_assets.stages.plots.drift import drift_plot, score_plot
from selfheal_assets.stages.plots.incident import incident_plot
from selfheal_assets.stages.plots.performance import performance_plot
from selfheal_assets.stages.plots.quality import quality_plot
from selfheal_assets.stages.plots.rollout import rollout_plot
from selfheal_assets.stages.plots.training_window import training_window_plot
from selfheal_assets.stages.plots.tuning import tuning_plot
from selfheal_assets.stages.plots.validation import validation_plot

__all__ = [
    "as_markdown",
    "drift_plot",
    "incident_plot",
    "performance_plot",
    "quality_plot",
    "rollout_plot",
    "score_plot",
    "training_window_plot",
    "tuning_plot",
    "validation_plot",
]
