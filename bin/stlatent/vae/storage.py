"""The folder of a trained VAE: latent space, weights, what it is, how it trained.

The reference itself is not in it: `attach` puts the latent space on the file of QUALITY_CONTROL.
Nothing but `save` and `SavedVAE.decoder` imports torch (3 s).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stlatent import slots
from stlatent.failures import DamagedFileError, reading
from stlatent.records.training import VaeDescription, VaeHistory
from stlatent.vae.geometry import GEOMETRIES, Geometry

if TYPE_CHECKING:
    from anndata import AnnData

    from stlatent.vae.decoder import Decoder
    from stlatent.vae.interface import Training

LATENT, WEIGHTS, ABOUT, HISTORY = "latent.h5ad", "vae.pt", "vae.json", "history.json"


@dataclass(frozen=True)
class SavedVAE:
    """A trained VAE as later steps read it.

    Attributes
    ----------
    folder
        Where it is.
    about
        What it is.
    latent
        Positions of the reference's cells, cells x n_latent float32.
    cells
        Names of the cells, in the order of ``latent``.
    """

    folder: Path
    about: VaeDescription
    latent: np.ndarray
    cells: list[str]

    @property
    def genes(self) -> list[str]:
        """Genes that the VAE was trained on, in the decoder's order."""
        return self.about.genes

    @property
    def geometry(self) -> Geometry:
        """Geometry of the latent space."""
        return GEOMETRIES[self.about.geometry]

    @cached_property
    def decoder(self) -> Decoder | None:
        """Latent space -> expression of ``genes``, where the VAE has one; read at first use."""
        import torch

        from stlatent.vae.decoder import Decoder

        with reading(self.folder / WEIGHTS):
            weights = torch.load(self.folder / WEIGHTS, weights_only=True, map_location="cpu")
            state = weights["decoder"]
            return None if state is None else Decoder.from_state(state)


def save(folder: Path, cells: AnnData, training: Training, settings: str = "") -> VaeHistory:
    """Write a trained VAE.

    Parameters
    ----------
    folder
        Made where it is missing.
    cells
        Reference after QC that it was trained on.
    training
        Of `stlatent.vae.registry.Backend.train`.
    settings
        Key of the settings of TRAIN_VAE and of the steps before it.

    Returns
    -------
    The history, which is in the folder too.
    """
    import torch
    from anndata import AnnData

    vae, identifier = training.vae, slots.facts(cells)["source"]
    folder.mkdir(parents=True, exist_ok=True)
    latent = AnnData(
        obs=cells.obs[[]], obsm={slots.X_VAE: vae.latent}, uns={slots.UNS: slots.facts(cells)}
    )
    slots.note(latent, settings=settings)
    slots.write(latent, folder / LATENT, slots.LATENT)
    decoder = None if vae.decoder is None else vae.decoder.to_state()
    torch.save({"vae": vae.state, "decoder": decoder}, folder / WEIGHTS)
    VaeDescription(
        id=identifier,
        settings=settings,
        vae=training.backend,
        options=asdict(training.options),
        genes=training.genes,
        geometry=vae.geometry.name,
        seed=training.run.seed,
        device=training.run.device,
        versions=training.versions,
        seconds=training.seconds,
        batch_sizes=training.batch_sizes,
    ).write(folder / ABOUT)
    history = VaeHistory(
        id=identifier,
        settings=settings,
        vae=training.backend,
        epoch=list(range(len(vae.history.get("train_loss", [])))),
        series={name: _finite(values) for name, values in vae.history.items()},
        best_epoch=vae.best_epoch,
        seconds=training.seconds,
        batch_sizes=training.batch_sizes,
    )
    history.write(folder / HISTORY)
    return history


def read_about(folder: str | Path) -> VaeDescription:
    """Return what the VAE in ``folder`` is."""
    return VaeDescription.read(Path(folder) / ABOUT)


def load(folder: str | Path) -> SavedVAE:
    """Read what `save` wrote."""
    folder = Path(folder)
    latent = slots.read(folder / LATENT, slots.LATENT)
    return SavedVAE(
        folder=folder,
        about=read_about(folder),
        latent=np.asarray(latent.obsm[slots.X_VAE], dtype=np.float32),
        cells=latent.obs_names.tolist(),
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


def _finite(values: Sequence[float]) -> list[float | None]:
    # An epoch may end without a number, and JSON has no word for that.
    return [float(value) if math.isfinite(value) else None for value in values]
