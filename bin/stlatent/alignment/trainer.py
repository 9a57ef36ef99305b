"""Training: VGAE alone, discriminator alone, then the tissue is matched to the reference."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp
import torch
from torch.nn import functional

from stlatent import graph
from stlatent.alignment import losses, matching
from stlatent.alignment.adversary import Adversary, Cells, cross_fitted_accuracy, folds, mask
from stlatent.alignment.composition import composition_weights
from stlatent.alignment.inputs import AlignmentInputs
from stlatent.alignment.joint import joint_space
from stlatent.alignment.model import Encoded, LatentAttention, SpatialVGAE
from stlatent.alignment.placement import Placement

Method = Literal["adversarial", "paper", "sinkhorn", "mmd", "none"]
METHODS: tuple[Method, ...] = get_args(Method)
Phase = Literal["pretrain", "discriminator", "adversarial", "paper", "sinkhorn", "mmd", "continued"]
SERIES = (
    "reconstruction",
    "transfer",
    "anchor",
    "graph",
    "kl",
    "adversarial",
    "divergence",
    "discriminator_loss",
    "discriminator_accuracy",
)
BLOCK_SIZE = 64
VALIDATION_FOLDS = 4
SLOWEST = 0.05
LARGEST_GRADIENT = 5.0


@dataclass(frozen=True)
class AlignmentSettings:
    """Settings of one alignment; weights multiply the losses of the same name.

    An epoch takes at most ``max_batches`` batches, so that training time does not grow with the
    tissue; ``n_anchors`` reference cells take part in the attention of each step. While the tissue
    is matched, ``n_matched`` locations and as many cells are compared in each step, the
    discriminator learns ``discriminator_steps`` times, and ``matched_anchor_weight`` replaces
    ``anchor_weight``: places predicted from a few genes are less spread than cells are, so the
    anchor pulls against every matching.

    ``alignment='paper'`` has the VGAE's own losses and the adversary alone: no anchor, no transfer
    and so no genes hidden from the encoder, no divergence, and the whole reference to match.

    ``judge_warm_up``: whether to train five more discriminators, which say how well tissue and
    reference can be told apart before the matching (`Alignment.warm_up_accuracy`).
    """

    alignment: Method = "adversarial"
    pretrain_epochs: int = 150
    discriminator_epochs: int = 50
    epochs: int = 150
    batch_size: int = 1024
    max_batches: int = 4
    n_anchors: int = 1024
    n_matched: int = 512
    learning_rate: float = 2e-3
    discriminator_learning_rate: float = 1e-3
    discriminator_steps: int = 5
    masked_share: float = 0.3
    reconstruction_weight: float = 1.0
    transfer_weight: float = 1.0
    anchor_weight: float = 1.0
    graph_weight: float = 0.1
    kl_weight: float = 1e-3
    matched_anchor_weight: float = 0.1
    adversarial_weight: float = 0.5
    mmd_weight: float = 30.0
    sinkhorn_weight: float = 10.0
    judge_warm_up: bool = True
    seed: int = 0
    device: str = "cpu"

    def with_batch_size(self, batch_size: int) -> AlignmentSettings:
        """Return settings with other batches, and as many that an epoch sees as much as before."""
        max_batches = -(-self.max_batches * self.batch_size // batch_size)
        return replace(self, batch_size=batch_size, max_batches=max_batches)

    @property
    def extended(self) -> bool:
        """Whether what goes beyond the paper takes part: anchor, transfer, divergence."""
        return self.alignment != "paper"

    @property
    def has_adversary(self) -> bool:
        """Whether the encoder plays against the discriminator."""
        return self.alignment in ("adversarial", "paper")

    def weights(self, matched: bool) -> dict[str, float]:
        """Return the weight of every loss that takes part, while the tissue is matched or not."""
        weights = {
            "reconstruction": self.reconstruction_weight,
            "graph": self.graph_weight,
            "kl": self.kl_weight,
        }
        if self.extended:
            weights["transfer"] = self.transfer_weight
            weights["anchor"] = self.matched_anchor_weight if matched else self.anchor_weight
        if matched and self.has_adversary:
            weights["adversarial"] = self.adversarial_weight
        if matched and self.extended:
            sinkhorn = self.alignment == "sinkhorn"
            weights["divergence"] = self.sinkhorn_weight if sinkhorn else self.mmd_weight
        return weights


@dataclass
class History:
    """One row per epoch; values that a phase does not compute, or not finite, are None."""

    phase: list[str] = field(default_factory=list)
    series: dict[str, list[float | None]] = field(default_factory=lambda: {s: [] for s in SERIES})

    def add(self, phase: Phase, steps: list[dict[str, float]]) -> None:
        """Append the mean over the steps of one epoch."""
        self.phase.append(phase)
        for name in SERIES:
            values = [step[name] for step in steps if name in step]
            mean = float(np.mean(values)) if values else math.nan
            self.series[name].append(mean if math.isfinite(mean) else None)


@dataclass(frozen=True)
class State:
    """The tissue's placement at one moment of the training, and how well it transfers.

    ``validation`` is the mean correlation of panel genes transferred while hidden from the encoder.
    """

    placement: Placement
    validation: float


@dataclass(frozen=True)
class Alignment:
    """The tissue before and after the matching, posterior means of the spatial space, history.

    ``warm_up_accuracy`` is that of discriminators trained alone, on locations and cells that they
    were not trained on; None without a warm-up, or with too few of either to keep any out.
    """

    before: State
    after: State
    spatial: np.ndarray
    history: History
    warm_up_accuracy: float | None

    @property
    def chosen(self) -> Literal["before", "after"]:
        """The state that predicts panel genes hidden from the encoder better."""
        return "after" if self.after.validation > self.before.validation else "before"

    def joint(self, adjacency: sp.csr_matrix) -> np.ndarray:
        """Return the joint latent space of the chosen state (`joint_space`)."""
        state = self.after if self.chosen == "after" else self.before
        return joint_space(state.placement.z, self.spatial, adjacency)


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
        self.adversary = Adversary(n_latent, settings.discriminator_learning_rate, device)
        self.whiten = matching.Whitening(self.latent)
        n_cells = len(inputs.latent)
        self.cells = Cells(self.whiten(self.latent), np.full(n_cells, 1 / n_cells))
        # The discriminator is judged on what it was never trained on.
        self.judged_locations = folds(len(inputs.tissue), self.rng) == 0
        self.judged_cells = folds(n_cells, self.rng) == 0
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
            positions, judged = self._clean(batch)
            if self.settings.has_adversary:
                found = self._teach(positions, judged)
            terms |= self._matching(positions)
        weights = self.settings.weights(matched)
        total = torch.stack([weight * terms[name] for name, weight in weights.items()]).sum()
        self.optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, LARGEST_GRADIENT)
        self.optimiser.step()
        return found | {name: float(value.detach()) for name, value in terms.items()}

    def _matching(self, positions: torch.Tensor) -> dict[str, torch.Tensor]:
        terms = {}
        if self.settings.has_adversary:
            terms["adversarial"] = self.adversary.loss(positions)
        if self.settings.extended:
            cells = self.cells.draw(self.settings.n_matched, self.rng)
            sinkhorn = self.settings.alignment == "sinkhorn"
            divergence = matching.sinkhorn_divergence if sinkhorn else matching.mmd
            terms["divergence"] = divergence(positions, cells)
        return terms

    def _clean(self, batch: graph.Batch) -> tuple[torch.Tensor, np.ndarray]:
        """Whitened posterior means as they will be, no gene hidden and no unit dropped.

        What is matched under the noise of training is narrower without it. With them comes which
        of them the discriminator is judged on.
        """
        x = self.tissue[torch.as_tensor(batch.nodes, device=self.tissue.device)]
        self.vgae.eval()
        encoded = self.vgae(x, _sparse_tensor(batch.operator, self.settings.device))
        self.vgae.train()
        some = self._some(batch.n_own)
        positions = self.whiten(encoded.aligned_mean[torch.as_tensor(some, device=x.device)])
        return positions, self.judged_locations[batch.nodes[some]]

    def _some(self, n: int) -> np.ndarray:
        return self.rng.permutation(n)[: self.settings.n_matched]

    def _teach(self, positions: torch.Tensor, judged: np.ndarray) -> dict[str, float]:
        """Update the discriminator a few times, then judge it on what it is never trained on.

        Parameters
        ----------
        positions
            Whitened, locations x dimensions.
        judged
            Mask of the locations that are kept out of its training.
        """
        seen = positions[mask(~judged, positions)]
        if not len(seen):
            return {}
        cells = self.cells.part(~self.judged_cells)
        lost = [
            self.adversary.learn(seen, cells.draw(len(seen), self.rng))
            for _ in range(self.settings.discriminator_steps)
        ]
        found = {"discriminator_loss": float(np.mean(lost))}
        if judged.any() and self.judged_cells.any():
            kept = self.cells.part(self.judged_cells).draw(self.settings.n_matched, self.rng)
            found["discriminator_accuracy"] = losses.balanced_accuracy(
                self.adversary.logits(kept),
                self.adversary.logits(positions[mask(judged, positions)]),
            )
        return found

    def _losses(self, batch: graph.Batch) -> dict[str, torch.Tensor]:
        x = self.tissue[torch.as_tensor(batch.nodes, device=self.tissue.device)]
        truth = x[: batch.n_own]
        hidden = self._hidden_genes(x.shape[1])
        seen = (~hidden).float() / (~hidden).float().mean()
        encoded = self.vgae(x * seen, _sparse_tensor(batch.operator, self.settings.device))
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
        if self.settings.extended:
            cells = self.sample_cells(self.settings.n_anchors)
            weights = self.attention(aligned, self.latent[cells])
            terms["transfer"] = losses.transfer_loss(weights @ self.reference[cells], truth, hidden)
            terms["anchor"] = self._anchor_loss(cells[: self.settings.batch_size], seen)
        return terms

    def _anchor_loss(self, cells: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        # Cells of the reference have a known place in the latent space.
        encoded = self.vgae(self.reference[cells] * seen, None)
        return functional.mse_loss(encoded.aligned_mean, self.latent[cells])

    def _hidden_genes(self, n_genes: int) -> torch.Tensor:
        n_hidden = int(self.settings.masked_share * n_genes) if self.settings.extended else 0
        hidden = torch.zeros(n_genes, dtype=torch.bool)
        hidden[torch.as_tensor(self.rng.permutation(n_genes)[:n_hidden])] = True
        return hidden.to(self.tissue.device)

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
        # The same cells whenever it is asked, and none of the training's randomness.
        chosen = rng.permutation(len(self.latent))[: self.settings.n_anchors]
        cells = torch.as_tensor(chosen, device=self.latent.device)
        found = []
        for genes in np.array_split(rng.permutation(n_genes), min(VALIDATION_FOLDS, n_genes)):
            seen = torch.ones(n_genes, device=self.tissue.device)
            seen[torch.as_tensor(genes)] = 0
            z = self.encode(seen / seen.mean()).aligned_mean[spots]
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

    def pretrain(self, epochs: int, phase: Phase) -> None:
        """Train the VGAE without matching the tissue to anything."""
        for _ in range(epochs):
            self.history.add(phase, [self.step(batch, False) for batch in self.batches()])

    def warm_up_discriminator(self, epochs: int) -> None:
        """Train the discriminator alone on the tissue as the VGAE sees it now.

        How well tissue and reference can be told apart is found by others of its kind, each
        trained as long without a fifth of both (`cross_fitted_accuracy`).
        """
        latent = self.encode().aligned_mean
        if self.settings.extended:
            weights = composition_weights(
                self.inputs.latent, latent.cpu().numpy(), self.settings.seed
            ).astype(np.float64)
            self.cells = Cells(self.cells.positions, weights / weights.sum())
        positions = self.whiten(latent)

        def train(tissue: torch.Tensor, cells: Cells) -> Adversary:
            return self._trained_adversary(tissue, cells, epochs)

        if self.settings.judge_warm_up:
            self.warm_up_accuracy = cross_fitted_accuracy(positions, self.cells, train, self.rng)
        for _ in range(epochs):
            some = self._some(len(positions))
            taught = self._teach(
                positions[torch.as_tensor(some, device=positions.device)],
                self.judged_locations[some],
            )
            self.history.add("discriminator", [taught])

    def _trained_adversary(self, tissue: torch.Tensor, cells: Cells, epochs: int) -> Adversary:
        """Return a new discriminator, trained as long as that of the game is warmed up."""
        s = self.settings
        adversary = Adversary(tissue.shape[1], s.discriminator_learning_rate, s.device)
        for _ in range(epochs):
            some = tissue[torch.as_tensor(self._some(len(tissue)), device=tissue.device)]
            for _ in range(s.discriminator_steps):
                adversary.learn(some, cells.draw(len(some), self.rng))
        return adversary

    def match(self, epochs: int) -> None:
        """Match the tissue to the reference while the VGAE keeps its own losses.

        The learning rate falls along a cosine, so that the game ends at rest.
        """
        method = self.settings.alignment
        if method == "none":
            self.pretrain(epochs, "continued")
            return
        for epoch in range(epochs):
            fall = 0.5 * (1 + math.cos(math.pi * epoch / epochs))
            for group in self.optimiser.param_groups:
                group["lr"] = self.settings.learning_rate * max(fall, SLOWEST)
            self.history.add(method, [self.step(batch, True) for batch in self.batches()])


def _draw(mean: torch.Tensor, logvar: torch.Tensor) -> torch.Tensor:
    return mean + torch.randn_like(mean) * (0.5 * logvar).exp()


def _sample(encoded: Encoded) -> torch.Tensor:
    return _draw(encoded.aligned_mean, encoded.aligned_logvar)


def _initial_log_precision(latent: np.ndarray) -> float:
    # Half the mean squared distance between cells is the total variance.
    return float(np.log(4 / max(latent.var(0).sum(), 1e-6)))


def align(inputs: AlignmentInputs, settings: AlignmentSettings) -> Alignment:
    """Align one tissue to its reference's frozen latent space.

    The VGAE is trained on its own losses; then a discriminator alone, which has to tell the
    resulting spaces apart; then the tissue is matched to the reference by the method of the
    settings. With ``alignment='none'`` the VGAE trains on for as many epochs, so that all methods
    see the tissue equally often.
    """
    trainer = Trainer(inputs, settings)
    trainer.pretrain(settings.pretrain_epochs, "pretrain")
    before, _ = trainer.state()
    if settings.alignment != "none":
        trainer.warm_up_discriminator(settings.discriminator_epochs)
    trainer.match(settings.epochs)
    after, encoded = trainer.state()
    spatial = encoded.spatial_mean.cpu().numpy()
    return Alignment(before, after, spatial, trainer.history, trainer.warm_up_accuracy)


def align_unmatched(inputs: AlignmentInputs, settings: AlignmentSettings) -> Placement:
    """Place a tissue in the reference's latent space in half the epochs, matched to nothing.

    For inner folds, where the alignment is only asked what it would predict.
    """
    trainer = Trainer(inputs, settings)
    trainer.pretrain(max(settings.pretrain_epochs // 2, 1), "pretrain")
    return trainer.state()[0].placement
