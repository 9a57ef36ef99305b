"""Principal components of log-normalised expression: the latent space that a VAE has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stlatent.expression import log_shares
from stlatent.failures import DataError
from stlatent.vae.geometry import PLANE
from stlatent.vae.interface import Run, TrainedVAE
from stlatent.vae.registry import register

if TYPE_CHECKING:
    from anndata import AnnData

# Less is rounding.
LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Options:
    """Options of PCA.

    Attributes
    ----------
    n_latent
        Number of components.
    """

    n_latent: int


@register(
    "pca",
    Options,
    title="PCA",
    package="scikit-learn",
    cite="Pedregosa et al., Journal of Machine Learning Research 2011, "
    "https://jmlr.org/papers/v12/pedregosa11a.html",
)
def train(cells: AnnData, genes: list[str], options: Options, run: Run) -> TrainedVAE:
    """Return the leading components of log(1 + counts per 10,000), centred.

    All of them have one scale, by which their mean variance is 1, as in the prior of a VAE: the
    alignment starts from there. The decoder is the exact linear inverse.

    Parameters
    ----------
    cells
        Reference after QC.
    genes
        Genes to model.
    options
        Number of components.
    run
        Of no influence: the components are exact.

    Raises
    ------
    DataError
        With fewer cells or genes than components, or without variance.
    """
    import torch
    from sklearn.decomposition import PCA

    from stlatent.vae.decoder import Decoder, Layer

    if options.n_latent > min(cells.n_obs, len(genes)):
        msg = (
            f"{options.n_latent} principal components cannot be taken of {cells.n_obs} cells and "
            f"{len(genes)} genes; lower n_latent"
        )
        raise DataError(msg)
    # The covariance is summed over all cells: float32 would round it.
    values = log_shares(cells, genes).astype(np.float64)
    pca = PCA(options.n_latent, svd_solver="covariance_eigh")
    positions = pca.fit_transform(values)
    scale = float(np.sqrt(pca.explained_variance_.mean()))
    if scale < LEAST_SPREAD:
        msg = "all cells of the reference have the same expression of the genes to model"
        raise DataError(msg)
    weight = torch.as_tensor(pca.components_.T * scale, dtype=torch.float32)
    bias = torch.as_tensor(pca.mean_, dtype=torch.float32)
    return TrainedVAE(
        latent=(positions / scale).astype(np.float32),
        geometry=PLANE,
        decoder=Decoder((Layer(weight, bias),), "identity", "log"),
        history={"explained_variance": pca.explained_variance_ratio_.tolist()},
    )
