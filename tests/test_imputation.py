from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from stlatent import slots
from stlatent.imputation.imputer import Imputer, Scale, gene_blocks, whole_library
from stlatent.imputation.output import gene_table, write_imputed
from stlatent.imputation.transfer import transfer, transfer_weights
from stlatent.vae.decoder import LatentDecoder

GENES = ["a", "b", "c"]


@pytest.fixture
def imputer() -> Imputer:
    """Two cell types at -3 and 3 of a one-dimensional latent space; the decoder knows a and c."""
    counts = np.array([[8.0, 1, 1], [8, 1, 1], [1, 1, 8], [1, 1, 8]])
    reference = anndata.AnnData(sp.csr_matrix(counts), var=pd.DataFrame(index=GENES))
    latent = np.array([[-3.0], [-3], [3], [3]], dtype=np.float32)
    decoder = LatentDecoder(
        hidden_weight=torch.tensor([[1.0], [-1.0]]),
        hidden_bias=torch.zeros(1, 2),
        output_weight=torch.tensor([[0.0, 1.0], [1.0, 0.0]]),
        output_bias=torch.zeros(2),
    )
    return Imputer(
        z=np.array([[-3.0], [3.0], [0.0]], dtype=np.float32),
        precision=1.0,
        reference=reference,
        latent=latent,
        decoder=decoder,
        decoder_genes=["a", "c"],
    )


def test_transfer_weights_by_hand() -> None:
    weights = transfer_weights(
        np.array([[0.0]]), np.array([[0.0], [1.0], [9.0]]), 1.0, k=2
    )
    expected = np.array([[1, np.exp(-1), 0]]) / (1 + np.exp(-1))
    np.testing.assert_allclose(weights.toarray(), expected)


def test_far_spots_still_get_weights() -> None:
    weights = transfer_weights(np.array([[1e4]]), np.array([[0.0], [1.0]]), 5.0)
    np.testing.assert_allclose(weights.sum(1), 1)


def test_transfer_is_a_weighted_mean() -> None:
    weights = sp.csr_matrix([[0.25, 0.75]])
    assert transfer(weights, np.array([[4.0], [8.0]])).item() == 7


def test_transferred_shares_follow_the_nearest_type(imputer: Imputer) -> None:
    shares = imputer.transfer(GENES)
    np.testing.assert_allclose(shares[0] / shares[1], [8, 1, 1 / 8], rtol=1e-4)
    # Halfway between the types the mean is taken on the log scale, below the mean of the shares.
    assert 0.1 < shares[2, 0] < 0.45
    np.testing.assert_allclose(shares[2, 0], shares[2, 2], rtol=1e-5)
    np.testing.assert_allclose(shares[2, 1], 0.1, rtol=1e-5)


def test_transfer_keeps_the_mean_of_every_gene(imputer: Imputer) -> None:
    np.testing.assert_allclose(
        imputer.transfer(GENES).mean(0),
        np.mean([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.45, 0.1, 0.45]], axis=0),
        rtol=1e-5,
    )


def test_decoder_gives_nan_for_genes_it_does_not_know(imputer: Imputer) -> None:
    shares = imputer.decode(GENES)
    assert np.isnan(shares[:, 1]).all()
    # a and c hold 36 of the reference's 40 counts.
    np.testing.assert_allclose(shares[:, [0, 2]].sum(1), 0.9, rtol=1e-5)
    assert shares[0, 0] > shares[0, 2]


def test_library_is_scaled_by_the_share_a_panel_captures(imputer: Imputer) -> None:
    total = np.array([9.0, 9.0, 9.0])
    np.testing.assert_allclose(whole_library(imputer, total, ["a", "c"]), 10, rtol=1e-5)


def test_count_scale_and_normalised_scale() -> None:
    share = np.array([[0.5], [0.1]])
    scale = Scale(counts=True, library=np.array([10.0, 20.0]))
    np.testing.assert_allclose(scale.on_count_scale(share), [[5], [2]])
    np.testing.assert_allclose(
        scale.normalised(share), np.log1p([[5000], [1000]]), rtol=1e-6
    )
    intensities = Scale(counts=False, library=np.ones(2))
    np.testing.assert_array_equal(
        intensities.on_count_scale(share), scale.normalised(share)
    )


def test_gene_blocks_cover_everything_once() -> None:
    assert list(gene_blocks(GENES, 2)) == [["a", "b"], ["c"]]


@pytest.mark.parametrize("normalised", [True, False])
def test_written_file_is_valid_h5ad(
    tmp_path: Path, imputer: Imputer, normalised: bool
) -> None:
    table = gene_table(GENES, measured={"a"}, decoded={"a", "c"})
    skeleton = anndata.AnnData(obs=pd.DataFrame(index=["s1", "s2", "s3"]), var=table)
    skeleton.obsm[slots.SPATIAL] = np.zeros((3, 2))
    slots.note(skeleton, kind="spatial", source="s", counts=True)
    scale = Scale(counts=True, library=np.full(3, 10.0))
    path = tmp_path / "s.imputed.h5ad"
    seconds = write_imputed(path, skeleton, imputer, scale, GENES, normalised)
    assert set(seconds) == {"transfer", "decoder"}
    written = anndata.read_h5ad(path)
    np.testing.assert_allclose(written.X, 10 * imputer.transfer(GENES), rtol=1e-6)
    np.testing.assert_allclose(
        written.layers["decoder"], 10 * imputer.decode(GENES), rtol=1e-6
    )
    assert (slots.NORMALISED in written.layers) is normalised
    assert written.var["measured"].tolist() == [True, False, False]
    assert written.uns["stlatent"]["source"] == "s"
