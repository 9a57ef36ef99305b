"""The folder of a trained VAE: latent space, weights, what it is, how it trained.

The reference itself is not in it: `attach` puts the latent space on the file of QUALITY_CONTROL.
Importing and `load` need no torch (3 s); only `SavedVAE.decoder` does.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stlatent import slots
from stlatent.failures import DamagedFileError, reading

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData

    from stlatent.vae.decoder import LatentDecoder
    from stlatent.vae.interface import TrainedVAE, VAESettings

LATENT, WEIGHTS, ABOUT, HISTORY = "latent.h5ad", "vae.pt", "vae.json", "history.json"


@dataclass(frozen=True)
class SavedVAE:
    """A trained VAE as later steps read it.

    Attributes
    ----------
    folder
        Where it is.
    latent
        Posterior means of the reference's cells, cells x n_latent float32.
    cells
        Names of the cells, in the order of ``latent``.
    genes
        Genes that the VAE was trained on, in the decoder's order.
    """

    folder: Path
    latent: np.ndarray
    cells: list[str]
    genes: list[str]

    @cached_property
    def decoder(self) -> LatentDecoder:
        """Latent space -> expression of ``genes``; read at first use."""
        import torch

        from stlatent.vae.decoder import LatentDecoder

        with reading(self.folder / WEIGHTS):
            weights = torch.load(self.folder / WEIGHTS, weights_only=True, map_location="cpu")
            return LatentDecoder.from_state(weights["decoder"])


def save(
    folder: Path,
    vae: TrainedVAE,
    reference: AnnData,
    settings: VAESettings,
    facts: dict[str, Any],
) -> None:
    """Write latent space, weights, settings and history into ``folder``."""
    import torch
    from anndata import AnnData

    folder.mkdir(parents=True, exist_ok=True)
    latent = AnnData(
        obs=reference.obs[[]],
        obsm={slots.X_VAE: vae.latent},
        uns={slots.UNS: slots.facts(reference)},
    )
    slots.write(latent, folder / LATENT, slots.LATENT)
    torch.save({"vae": vae.state, "decoder": vae.decoder.state_dict()}, folder / WEIGHTS)
    description = {**facts, "settings": asdict(settings), "genes": vae.genes}
    (folder / ABOUT).write_text(json.dumps(description, indent=1) + "\n")
    history = {
        "id": facts["id"],
        "epoch": list(range(len(vae.history["train_loss"]))),
        "series": vae.history,
        "best_epoch": vae.best_epoch,
        "seconds": facts["seconds"],
        "batch_sizes": facts.get("batch_sizes", [settings.batch_size]),
    }
    (folder / HISTORY).write_text(json.dumps(history) + "\n")


def read_about(folder: str | Path) -> dict[str, Any]:
    """Return what `save` noted about the VAE in ``folder``."""
    with reading(Path(folder) / ABOUT):
        return dict(json.loads((Path(folder) / ABOUT).read_text()))


def load(folder: str | Path) -> SavedVAE:
    """Read what `save` wrote."""
    import numpy as np

    folder = Path(folder)
    latent = slots.read(folder / LATENT, slots.LATENT)
    return SavedVAE(
        folder=folder,
        latent=np.asarray(latent.obsm[slots.X_VAE], dtype=np.float32),
        cells=latent.obs_names.tolist(),
        genes=read_about(folder)["genes"],
    )


def attach(reference: AnnData, saved: SavedVAE) -> AnnData:
    """Put the latent space on ``reference``, in place, and return it.

    Parameters
    ----------
    reference
        Of QUALITY_CONTROL, the one that the VAE was trained on.
    saved
        Of `load`.

    Raises
    ------
    DamagedFileError
        When the reference has other cells than the VAE, or another order of them.
    """
    if reference.obs_names.tolist() != saved.cells:
        common = reference.obs_names.isin(saved.cells).sum()
        msg = (
            f"the VAE in '{saved.folder.name}' belongs to another reference: of its "
            f"{len(saved.cells)} cells, {common} are among the {reference.n_obs} of this one, or "
            "their order differs"
        )
        raise DamagedFileError(msg)
    reference.obsm[slots.X_VAE] = saved.latent
    return reference
