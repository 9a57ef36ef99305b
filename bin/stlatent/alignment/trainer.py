"""Training: VGAE alone, discriminator alone, then both against each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn import functional

from stlatent import graph
from stlatent.alignment import losses
from stlatent.alignment.inputs import AlignmentInputs
from stlatent.alignment.model import Discriminator, Encoded, LatentAttention, SpatialVGAE

Phase = Literal["pretrain", "discriminator", "adversarial", "continued"]
SERIES = (
    "reconstruction",
    "transfer",
    "anchor",
    "graph",
    "kl",
    "adversarial",
    "discriminator_loss",
    "discriminator_accuracy",
)
BLOCK_SIZE = 64
VALIDATION_FOLDS = 4
COMPOSITION_SPOTS = 1024
ATTENTION_VALUES = 10_000_000


@dataclass(frozen=True)
class AlignmentSettings:
    """Settings of one alignment; weights multiply the losses of the same name.

    An epoch takes at most ``max_batches`` batches, so that training time does not grow with the
    tissue; ``n_anchors`` reference cells take part in the attention of each step.
    """

    alignment: Literal["adversarial", "none"] = "adversarial"
    pretrain_epochs: int = 150
    discriminator_epochs: int = 50
    epochs: int = 150
    batch_size: int = 1024
    max_batches: int = 4
    n_anchors: int = 1024
    learning_rate: float = 2e-3
    discriminator_learning_rate: float = 2e-3
    masked_share: float = 0.3
    reconstruction_weight: float = 1.0
    transfer_weight: float = 1.0
    anchor_weight: float = 1.0
    graph_weight: float = 0.1
    kl_weight: float = 1e-3
    adversarial_weight: float = 0.1
    seed: int = 0
    device: str = "cpu"


@dataclass
class History:
    """One row per epoch; values that a phase does not compute are None."""

    phase: list[str] = field(default_factory=list)
    series: dict[str, list[float | None]] = field(default_factory=lambda: {s: [] for s in SERIES})

    def add(self, phase: Phase, steps: list[dict[str, float]]) -> None:
        """Append the mean over the steps of one epoch."""
        self.phase.append(phase)
        for name in SERIES:
            values = [step[name] for step in steps if name in step]
            self.series[name].append(float(np.mean(values)) if values else None)


@dataclass(frozen=True)
class Positions:
    """The aligned latent space at one moment of the training.

    Attributes
    ----------
    latent
        Posterior means, spots x n_latent.
    precision
        Of the latent attention.
    validation
        Mean correlation of panel genes transferred while hidden from the encoder.
    """

    latent: np.ndarray
    precision: float
    validation: float


@dataclass(frozen=True)
class Alignment:
    """Positions before and after the adversary, posterior means of the spatial space, history."""

    before: Positions
    after: Positions
    spatial: np.ndarray
    history: History

    @property
    def joint(self) -> np.ndarray:
        """The joint latent space: aligned and spatial side by side."""
        return np.concatenate([self.after.latent, self.spatial], axis=1)


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
        self.discriminator = Discriminator(n_latent).to(device)
        self.optimiser = torch.optim.Adam(
            [*self.vgae.parameters(), *self.attention.parameters()], lr=settings.learning_rate
        )
        self.discriminator_optimiser = torch.optim.Adam(
            self.discriminator.parameters(),
            lr=settings.discriminator_learning_rate,
            betas=(0.5, 0.9),
        )
        self.blocks = graph.blocks(inputs.coordinates, BLOCK_SIZE)
        self.weights = torch.ones(len(inputs.latent), device=device)
        self.history = History()

    def batches(self) -> Iterator[graph.Batch]:
        """Yield one epoch: batches of random compact blocks, the whole tissue when it is small."""
        per_batch = max(1, self.settings.batch_size // BLOCK_SIZE)
        order = self.rng.permutation(len(self.blocks))[: per_batch * self.settings.max_batches]
        for start in range(0, len(order), per_batch):
            own = np.concatenate([self.blocks[i] for i in order[start : start + per_batch]])
            yield graph.batch(own, self.inputs.graph, self.inputs.operator)

    def sample_cells(self, n: int, weights: torch.Tensor | None = None) -> torch.Tensor:
        """Return indices of ``n`` reference cells (all when fewer), drawn by weight."""
        n_cells = len(self.latent)
        if weights is None:
            chosen = self.rng.permutation(n_cells)[:n]
        else:
            share = weights.double().cpu().numpy()
            chosen = self.rng.choice(n_cells, size=n, p=share / share.sum())
        return torch.as_tensor(chosen, device=self.latent.device)

    def step(self, batch: graph.Batch, adversarial: bool) -> dict[str, float]:
        """Update the VGAE on one batch and return its losses."""
        s = self.settings
        terms, encoded = self._losses(batch)
        if adversarial:
            terms["adversarial"] = losses.generator_loss(self.discriminator(_sample(encoded)))
        total = (
            s.reconstruction_weight * terms["reconstruction"]
            + s.transfer_weight * terms["transfer"]
            + s.anchor_weight * terms["anchor"]
            + s.graph_weight * terms["graph"]
            + s.kl_weight * terms["kl"]
        )
        if adversarial:
            total = total + s.adversarial_weight * terms["adversarial"]
        self.optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.vgae.parameters(), 5.0)
        self.optimiser.step()
        return {name: float(value.detach()) for name, value in terms.items()}

    def _losses(self, batch: graph.Batch) -> tuple[dict[str, torch.Tensor], Encoded]:
        x = self.tissue[torch.as_tensor(batch.nodes, device=self.tissue.device)]
        truth = x[: batch.n_own]
        hidden = self._hidden_genes(x.shape[1])
        seen = (~hidden).float() / (~hidden).float().mean()
        encoded = self.vgae(x * seen, _sparse_tensor(batch.operator, self.settings.device))
        encoded = encoded.head(batch.n_own)
        aligned = _sample(encoded)
        spatial = _draw(encoded.spatial_mean, encoded.spatial_logvar)
        reconstructed = self.vgae.reconstruct(torch.cat([aligned, spatial], dim=1))
        cells = self.sample_cells(self.settings.n_anchors)
        weights = self.attention(aligned, self.latent[cells])
        negatives = torch.as_tensor(self.rng.integers(0, batch.n_own, batch.edges.shape))
        return {
            "reconstruction": functional.mse_loss(reconstructed, truth),
            "transfer": losses.transfer_loss(weights @ self.reference[cells], truth, hidden),
            "anchor": self._anchor_loss(cells[: self.settings.batch_size], seen),
            "graph": losses.graph_loss(spatial, torch.as_tensor(batch.edges), negatives),
            "kl": losses.kl_divergence(encoded.aligned_mean, encoded.aligned_logvar)
            + losses.kl_divergence(encoded.spatial_mean, encoded.spatial_logvar),
        }, encoded

    def _anchor_loss(self, cells: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        # Cells of the reference have a known place in the latent space.
        encoded = self.vgae(self.reference[cells] * seen, None)
        return functional.mse_loss(encoded.aligned_mean, self.latent[cells])

    def _hidden_genes(self, n_genes: int) -> torch.Tensor:
        n_hidden = int(self.settings.masked_share * n_genes)
        hidden = torch.zeros(n_genes, dtype=torch.bool)
        hidden[torch.as_tensor(self.rng.permutation(n_genes)[:n_hidden])] = True
        return hidden.to(self.tissue.device)

    def step_discriminator(self, encoded: Encoded) -> dict[str, float]:
        """Update the discriminator on tissue positions and as many reference cells.

        Tissue positions are drawn from their posteriors. Reference cells get noise of the same
        size, or the discriminator would tell the modalities apart by the noise alone.
        """
        fake_z = _sample(encoded).detach()
        cells = self.latent[self.sample_cells(len(fake_z), self.weights)]
        real = self.discriminator(_draw(cells, encoded.aligned_logvar.detach()))
        fake = self.discriminator(fake_z)
        loss = losses.discriminator_loss(real, fake)
        self.discriminator_optimiser.zero_grad()
        loss.backward()
        self.discriminator_optimiser.step()
        return {
            "discriminator_loss": float(loss.detach()),
            "discriminator_accuracy": losses.balanced_accuracy(real.detach(), fake.detach()),
        }

    @torch.no_grad()
    def encode(self, seen: torch.Tensor | None = None) -> Encoded:
        """Return the posterior of every spot, in batches with exact halos.

        Parameters
        ----------
        seen
            Factor per gene, 0 for genes hidden from the encoder; all are seen by default.
        """
        tissue = self.tissue if seen is None else self.tissue * seen
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
        cells = self.sample_cells(self.settings.n_anchors)
        found = []
        for genes in np.array_split(rng.permutation(n_genes), min(VALIDATION_FOLDS, n_genes)):
            seen = torch.ones(n_genes, device=self.tissue.device)
            seen[torch.as_tensor(genes)] = 0
            z = self.encode(seen / seen.mean()).aligned_mean[spots]
            predicted = self.attention(z, self.latent[cells]) @ self.reference[cells]
            correlations = losses.correlation(predicted, self.tissue[spots], dim=0)
            found.append(correlations[torch.as_tensor(genes)])
        return float(torch.cat(found).mean())

    def positions(self) -> tuple[Positions, Encoded]:
        """Return where the tissue lies now, with the validation of that."""
        encoded = self.encode()
        precision = float(self.attention.log_precision.detach().exp())
        latent = encoded.aligned_mean.cpu().numpy()
        return Positions(latent, precision, self.validate()), encoded

    @torch.no_grad()
    def match_composition(self, z: torch.Tensor) -> None:
        """Weigh reference cells by how much the tissue attends to them, half uniform.

        A sample of the spots is asked, so that the cost is linear in the cells.
        """
        used = torch.zeros(len(self.latent), device=z.device)
        asked = z[torch.as_tensor(self.rng.permutation(len(z))[:COMPOSITION_SPOTS])]
        for part in asked.split(max(1, ATTENTION_VALUES // len(self.latent))):
            used += self.attention(part, self.latent).sum(0)
        self.weights = 0.5 * used / used.sum() + 0.5 / len(used)

    def pretrain(self, epochs: int, phase: Phase) -> None:
        """Train the VGAE without the adversary."""
        for _ in range(epochs):
            self.history.add(phase, [self.step(batch, False) for batch in self.batches()])

    def warm_up_discriminator(self, epochs: int) -> None:
        """Train the discriminator alone on the tissue as the VGAE sees it now."""
        encoded = self.encode()
        self.match_composition(encoded.aligned_mean)
        for _ in range(epochs):
            order = torch.as_tensor(self.rng.permutation(len(encoded.aligned_mean)))
            parts = [
                Encoded(*(values[chosen] for values in encoded))
                for chosen in order.split(self.settings.batch_size)
            ]
            self.history.add("discriminator", [self.step_discriminator(part) for part in parts])

    def fool(self, epochs: int) -> None:
        """Alternate discriminator and VGAE."""
        for epoch in range(epochs):
            if epoch % 10 == 0:
                self.match_composition(self.encode().aligned_mean)
            steps = []
            for batch in self.batches():
                steps.append(self.step_discriminator(self._encoded(batch)))
                steps.append(self.step(batch, True))
            self.history.add("adversarial", steps)

    @torch.no_grad()
    def _encoded(self, batch: graph.Batch) -> Encoded:
        x = self.tissue[torch.as_tensor(batch.nodes, device=self.tissue.device)]
        operator = _sparse_tensor(batch.operator, self.settings.device)
        return self.vgae(x, operator).head(batch.n_own)


def _draw(mean: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    return mean + torch.randn_like(mean) * (0.5 * logvar).exp()


def _sample(encoded: Encoded) -> torch.Tensor:
    return _draw(encoded.aligned_mean, encoded.aligned_logvar)


def _initial_log_precision(latent: np.ndarray) -> float:
    # Half the mean squared distance between cells is the total variance.
    return float(np.log(4 / max(latent.var(0).sum(), 1e-6)))


def align(inputs: AlignmentInputs, settings: AlignmentSettings) -> Alignment:
    """Align one tissue to its reference's frozen latent space.

    The VGAE is trained on its own losses, then the discriminator alone on the resulting latent
    spaces, then both in turn. With ``alignment='none'`` the VGAE trains on for as many epochs, so
    that both settings see the tissue equally often.
    """
    trainer = Trainer(inputs, settings)
    trainer.pretrain(settings.pretrain_epochs, "pretrain")
    before, _ = trainer.positions()
    if settings.alignment == "adversarial":
        trainer.warm_up_discriminator(settings.discriminator_epochs)
        trainer.fool(settings.epochs)
    else:
        trainer.pretrain(settings.epochs, "continued")
    after, encoded = trainer.positions()
    return Alignment(before, after, encoded.spatial_mean.cpu().numpy(), trainer.history)


def place(inputs: AlignmentInputs, settings: AlignmentSettings) -> Positions:
    """Place a tissue in the reference's latent space in half the epochs, without the adversary.

    For inner folds, where the alignment is only asked what it would predict.
    """
    trainer = Trainer(inputs, settings)
    trainer.pretrain(max(settings.pretrain_epochs // 2, 1), "pretrain")
    return trainer.positions()[0]
