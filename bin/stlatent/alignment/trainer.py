"""Training: VGAE alone, discriminator alone, then the tissue is matched to the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn import functional

from stlatent import graph
from stlatent.alignment import losses
from stlatent.alignment.composition import composition_weights
from stlatent.alignment.game import Game
from stlatent.alignment.inputs import AlignmentInputs
from stlatent.alignment.model import Encoded, LatentAttention, SpatialVGAE
from stlatent.alignment.placement import Placement
from stlatent.alignment.result import Alignment, History, State
from stlatent.alignment.settings import AlignmentSettings

BLOCK_SIZE = 64
VALIDATION_FOLDS = 4
SLOWEST = 0.05
LARGEST_GRADIENT = 5.0


def _sparse_tensor(matrix: sp.csr_matrix, device: str) -> torch.Tensor:
    return torch.sparse_csr_tensor(
        torch.as_tensor(matrix.indptr, dtype=torch.int64),
        torch.as_tensor(matrix.indices, dtype=torch.int64),
        torch.as_tensor(matrix.data),
        size=matrix.shape,
        device=device,
        check_invariants=False,
    )


class Trainer:
    """Holds models, data and optimisers of one alignment."""

    def __init__(self, inputs: AlignmentInputs, settings: AlignmentSettings) -> None:
        self.settings = settings
        self.inputs = inputs
        self.rng = np.random.default_rng(settings.seed)
        torch.manual_seed(settings.seed)
        device = settings.device
        self.tissue = torch.as_tensor(inputs.tissue, device=device)
        self.reference = torch.as_tensor(inputs.reference, device=device)
        self.latent = torch.as_tensor(inputs.latent, device=device)
        n_latent = inputs.latent.shape[1]
        self.vgae = SpatialVGAE(inputs.tissue.shape[1], n_latent).to(device)
        self.attention = LatentAttention(_initial_log_precision(inputs.latent)).to(device)
        self.game = Game(self.latent, len(inputs.tissue), settings, self.rng)
        self.warm_up_accuracy: float | None = None
        self.parameters = [*self.vgae.parameters(), *self.attention.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, lr=settings.learning_rate)
        self.blocks = graph.blocks(inputs.coordinates, BLOCK_SIZE)
        self.history = History()

    def batches(self) -> Iterator[graph.Batch]:
        """Yield one epoch: batches of random compact blocks, the whole tissue when it is small."""
        per_batch = max(1, self.settings.batch_size // BLOCK_SIZE)
        order = self.rng.permutation(len(self.blocks))[: per_batch * self.settings.max_batches]
        for start in range(0, len(order), per_batch):
            own = np.concatenate([self.blocks[i] for i in order[start : start + per_batch]])
            yield graph.batch(own, self.inputs.graph, self.inputs.operator)

    def sample_cells(self, n: int) -> torch.Tensor:
        """Return indices of ``n`` different reference cells, all when there are fewer."""
        return torch.as_tensor(
            self.rng.permutation(len(self.latent))[:n], device=self.latent.device
        )

    def step(self, batch: graph.Batch, matched: bool) -> dict[str, float]:
        """Update the VGAE on one batch and return its losses."""
        terms = self._losses(batch)
        found: dict[str, float] = {}
        if matched:
            matching, game = self.settings.matching, self.game
            positions, locations = self._clean(batch)
            if matching.has_adversary:
                found = game.teach(positions, locations)
            terms |= matching.losses(positions, game.adversary, game.draw_cells)
        weights = self.settings.weights(matched)
        total = torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()
        self.optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, LARGEST_GRADIENT)
        self.optimiser.step()
        return found | {name: float(value.detach()) for name, value in terms.items()}

    def _clean(self, batch: graph.Batch) -> tuple[torch.Tensor, np.ndarray]:
        """Whitened posterior means as they will be, no gene hidden and no unit dropped.

        What is matched under the noise of training is narrower without it. With them comes which
        locations they are of.
        """
        x = self.tissue[torch.as_tensor(batch.nodes, device=self.tissue.device)]
        self.vgae.eval()
        encoded = self.vgae(x, _sparse_tensor(batch.operator, self.settings.device))
        self.vgae.train()
        some = self.game.some(batch.n_own)
        positions = encoded.aligned_mean[torch.as_tensor(some, device=x.device)]
        return self.game.whiten(positions), batch.nodes[some]

    def _losses(self, batch: graph.Batch) -> dict[str, torch.Tensor]:
        x = self.tissue[torch.as_tensor(batch.nodes, device=self.tissue.device)]
        truth = x[: batch.n_own]
        hidden = self._hidden_genes(x.shape[1])
        visible = (~hidden).float() / (~hidden).float().mean()
        encoded = self.vgae(x * visible, _sparse_tensor(batch.operator, self.settings.device))
        encoded = encoded.head(batch.n_own)
        aligned = _sample(encoded)
        spatial = _draw(encoded.spatial_mean, encoded.spatial_logvar)
        reconstructed = self.vgae.reconstruct(torch.cat([aligned, spatial], dim=1))
        negatives = graph.non_edges(batch, self.rng)
        terms = {
            "reconstruction": functional.mse_loss(reconstructed, truth),
            "graph": losses.graph_loss(
                spatial, torch.as_tensor(batch.edges), torch.as_tensor(negatives)
            ),
            "kl": losses.kl_divergence(encoded.aligned_mean, encoded.aligned_logvar)
            + losses.kl_divergence(encoded.spatial_mean, encoded.spatial_logvar),
        }
        if self.settings.matching.anchored:
            cells = self.sample_cells(self.settings.n_anchors)
            weights = self.attention(aligned, self.latent[cells])
            terms["transfer"] = losses.transfer_loss(weights @ self.reference[cells], truth, hidden)
            terms["anchor"] = self._anchor_loss(cells[: self.settings.batch_size], visible)
        return terms

    def _anchor_loss(self, cells: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        # Cells of the reference have a known place in the latent space.
        encoded = self.vgae(self.reference[cells] * visible, None)
        return functional.mse_loss(encoded.aligned_mean, self.latent[cells])

    def _hidden_genes(self, n_genes: int) -> torch.Tensor:
        share = self.settings.masked_share if self.settings.matching.anchored else 0
        n_hidden = int(share * n_genes)
        hidden = torch.zeros(n_genes, dtype=torch.bool)
        hidden[torch.as_tensor(self.rng.permutation(n_genes)[:n_hidden])] = True
        return hidden.to(self.tissue.device)

    @torch.no_grad()
    def encode(self, visible: torch.Tensor | None = None) -> Encoded:
        """Return the posterior of every spot, in batches with exact halos.

        Parameters
        ----------
        visible
            Factor per gene, 0 for genes hidden from the encoder; all are visible by default.
        """
        tissue = self.tissue if visible is None else self.tissue * visible
        self.vgae.eval()
        parts, order = [], []
        per_batch = max(1, self.settings.batch_size // BLOCK_SIZE)
        for start in range(0, len(self.blocks), per_batch):
            own = np.concatenate(self.blocks[start : start + per_batch])
            batch = graph.batch(own, self.inputs.graph, self.inputs.operator)
            x = tissue[torch.as_tensor(batch.nodes, device=tissue.device)]
            operator = _sparse_tensor(batch.operator, self.settings.device)
            parts.append(self.vgae(x, operator).head(batch.n_own))
            order.append(own)
        self.vgae.train()
        back = torch.as_tensor(np.argsort(np.concatenate(order)))
        return Encoded(*(torch.cat(part)[back] for part in zip(*parts, strict=True)))

    @torch.no_grad()
    def validate(self) -> float:
        """Return the mean correlation of panel genes transferred while hidden, in a few folds.

        At most one batch of spots is scored.
        """
        n_genes = self.tissue.shape[1]
        rng = np.random.default_rng(self.settings.seed)
        spots = torch.as_tensor(rng.permutation(len(self.tissue))[: self.settings.batch_size])
        # The same cells at every call, and none of the training's randomness.
        chosen = rng.permutation(len(self.latent))[: self.settings.n_anchors]
        cells = torch.as_tensor(chosen, device=self.latent.device)
        found = []
        for genes in np.array_split(rng.permutation(n_genes), min(VALIDATION_FOLDS, n_genes)):
            visible = torch.ones(n_genes, device=self.tissue.device)
            visible[torch.as_tensor(genes)] = 0
            z = self.encode(visible / visible.mean()).aligned_mean[spots]
            predicted = self.attention(z, self.latent[cells]) @ self.reference[cells]
            correlations = losses.correlation(predicted, self.tissue[spots], dim=0)
            found.append(correlations[torch.as_tensor(genes)])
        return float(torch.cat(found).mean())

    def state(self) -> tuple[State, Encoded]:
        """Return where the tissue lies now, with the validation of that, and its posterior."""
        encoded = self.encode()
        precision = float(self.attention.log_precision.detach().exp())
        latent = encoded.aligned_mean.cpu().numpy()
        return State(Placement(latent, precision), self.validate()), encoded

    def pretrain(self, epochs: int, phase: str = "pretrain") -> None:
        """Train the VGAE without matching the tissue to anything."""
        for _ in range(epochs):
            self.history.add(phase, [self.step(batch, False) for batch in self.batches()])

    def warm_up_discriminator(self, epochs: int) -> None:
        """Train the discriminator alone on the tissue as the VGAE encodes it now."""
        latent = self.encode().aligned_mean
        if self.settings.matching.anchored:
            self.game.weigh_cells(
                composition_weights(self.inputs.latent, latent.cpu().numpy(), self.settings.seed)
            )
        positions = self.game.whiten(latent)
        if self.settings.judge_warm_up:
            self.warm_up_accuracy = self.game.separability(positions, epochs)
        for _ in range(epochs):
            self.history.add("discriminator", [self.game.teach_some(positions)])

    def match(self, epochs: int) -> None:
        """Match the tissue to the reference while the VGAE keeps its own losses.

        The learning rate falls along a cosine, so that the game ends at rest. A matching that does
        not move the tissue is more of the pretraining.
        """
        matching = self.settings.matching
        if not matching.moves_tissue:
            self.pretrain(epochs, matching.phase)
            return
        for epoch in range(epochs):
            fall = 0.5 * (1 + math.cos(math.pi * epoch / epochs))
            for group in self.optimiser.param_groups:
                group["lr"] = self.settings.learning_rate * max(fall, SLOWEST)
            self.history.add(matching.phase, [self.step(batch, True) for batch in self.batches()])


def _draw(mean: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    return mean + torch.randn_like(mean) * (0.5 * logvar).exp()


def _sample(encoded: Encoded) -> torch.Tensor:
    return _draw(encoded.aligned_mean, encoded.aligned_logvar)


def _initial_log_precision(latent: np.ndarray) -> float:
    # Half the mean squared distance between cells is the total variance.
    return float(np.log(4 / max(latent.var(0).sum(), 1e-6)))


def pretrained(inputs: AlignmentInputs, settings: AlignmentSettings) -> tuple[Trainer, State]:
    """Return a trainer whose VGAE was trained on its own losses, and where that puts the tissue."""
    trainer = Trainer(inputs, settings)
    trainer.pretrain(settings.pretrain_epochs)
    return trainer, trainer.state()[0]


def matched(trainer: Trainer, before: State) -> Alignment:
    """Match a tissue to its reference, from what `pretrained` returned.

    First a discriminator is trained alone, which has to tell the two apart.
    """
    settings = trainer.settings
    if settings.matching.moves_tissue:
        trainer.warm_up_discriminator(settings.discriminator_epochs)
    trainer.match(settings.epochs)
    after, encoded = trainer.state()
    spatial = encoded.spatial_mean.cpu().numpy()
    return Alignment(before, after, spatial, trainer.history, trainer.warm_up_accuracy)


def align(inputs: AlignmentInputs, settings: AlignmentSettings) -> Alignment:
    """Align one tissue to its reference's frozen latent space."""
    return matched(*pretrained(inputs, settings))


def align_unmatched(inputs: AlignmentInputs, settings: AlignmentSettings) -> Placement:
    """Place a tissue in its reference's latent space in half the epochs, matched to nothing.

    For inner folds, which only say what the alignment would predict.
    """
    epochs = max(settings.pretrain_epochs // 2, 1)
    return pretrained(inputs, replace(settings, pretrain_epochs=epochs))[1].placement
