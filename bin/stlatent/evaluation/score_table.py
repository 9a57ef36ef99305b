"""The table of scores: its columns, and the names in it that mean something."""

from __future__ import annotations

METRICS = ("pcc", "pcc_normalised", "spearman", "ssim", "rmse", "js")
KEY_COLUMNS = ("sample", "arm", "method", "fold", "seed", "gene")
MEASURES = (
    *METRICS,
    "locations_normalised",  # that `pcc_normalised` is over
    "morans_i_measured",
    "morans_i_imputed",
    "seconds",
)
COLUMNS = (*KEY_COLUMNS, *MEASURES)

# Of a method's default prediction; its candidates are ``stlatent_<candidate>``.
OURS = "stlatent"
# Baselines are the same in every arm.
BASELINE_ARM = "baseline"
# A prediction that correlates by more with a measurement shows its pattern.
BELIEVABLE = 0.3
