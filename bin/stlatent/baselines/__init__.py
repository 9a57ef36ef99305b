"""Published imputation methods as baselines, each with its published settings."""

from __future__ import annotations

from stlatent.baselines import gimvi, spage, tangram
from stlatent.baselines.interface import Peer, Prediction, on_tissue_scale

__all__ = ["PEERS", "Peer", "Prediction", "on_tissue_scale"]

PEERS: dict[str, Peer] = {
    "tangram": tangram.predict,
    "gimvi": gimvi.predict,
    "spage": spage.predict,
}
