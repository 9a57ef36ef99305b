"""Published imputation methods as baselines, each with its published settings."""

from __future__ import annotations

from importlib.util import find_spec

from stlatent.peers import gimvi, spage, tangram
from stlatent.peers.interface import Peer, Prediction, on_tissue_scale

__all__ = ["PEERS", "Peer", "Prediction", "missing_packages", "on_tissue_scale"]

PEERS: dict[str, Peer] = {
    "tangram": tangram.predict,
    "gimvi": gimvi.predict,
    "spage": spage.predict,
}

# Distribution and module of what is not always installed.
OPTIONAL = {"tangram": ("tangram-sc", "tangram")}


def missing_packages(methods: list[str]) -> dict[str, str]:
    """Return the package that this environment lacks, by the method that needs it."""
    needed = {method: OPTIONAL[method] for method in methods if method in OPTIONAL}
    return {
        method: package for method, (package, module) in needed.items() if find_spec(module) is None
    }
