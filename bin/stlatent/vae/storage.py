"""Writing and reading the folder of a trained VAE. Weights only, never pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from stlatent import slots
from stlatent.failures import reading
from stlatent.vae.decoder import LatentDecoder

if TYPE_CHECKING:
    from anndata import AnnData

    from stlatent.vae.interface import TrainedVAE, VAESettings

WEIGHTS, SETTINGS, HISTORY, REFERENCE = "vae.pt", "vae.json", "history.json", "reference.h5ad"


@dataclass(frozen=True)
class SavedVAE:
    """A trained VAE as later steps read it: the reference with its latent space, and the decoder."""

    reference: AnnData
    decoder: LatentDecoder
    genes: list[str]


def save(
    folder: Path,
    vae: TrainedVAE,
    reference: AnnData,
    settings: VAESettings,
    facts: dict[str, Any],
) -> None:
    """Write reference, weights, settings and history into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    reference.obsm[slots.X_VAE] = vae.latent
    slots.write(reference, folder / REFERENCE, slots.LATENT_REFERENCE)
    torch.save({"vae": vae.state, "decoder": vae.decoder.state_dict()}, folder / WEIGHTS)
    description = {**facts, "settings": asdict(settings), "genes": vae.genes}
    (folder / SETTINGS).write_text(json.dumps(description, indent=1) + "\n")
    history = {
        "id": facts["id"],
        "epoch": list(range(len(vae.history["train_loss"]))),
        "series": vae.history,
        "best_epoch": vae.best_epoch,
        "seconds": facts["seconds"],
        "batch_sizes": facts.get("batch_sizes", [settings.batch_size]),
    }
    (folder / HISTORY).write_text(json.dumps(history) + "\n")


def load(folder: str | Path) -> SavedVAE:
    """Read what `save` wrote."""
    folder = Path(folder)
    with reading(folder / WEIGHTS):
        weights = torch.load(folder / WEIGHTS, weights_only=True, map_location="cpu")
        description = json.loads((folder / SETTINGS).read_text())
    return SavedVAE(
        reference=slots.read(folder / REFERENCE, slots.LATENT_REFERENCE),
        decoder=LatentDecoder.from_state(weights["decoder"]),
        genes=description["genes"],
    )
