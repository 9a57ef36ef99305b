"""Methods to compare with: plain ones, and published ones with their published settings."""

from stlatent.baselines import gimvi, plain, spage, tangram

__all__ = ["gimvi", "plain", "spage", "tangram"]
