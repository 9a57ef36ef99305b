"""Settings of one alignment."""

from __future__ import annotations

from dataclasses import dataclass, replace

from stlatent.alignment.matching import Matching


@dataclass(frozen=True)
class AlignmentSettings:
    """Settings of one alignment; weights multiply the losses of the same name.

    Those without a default are parameters of the pipeline.

    An epoch takes at most ``max_batches`` batches, so that training time does not grow with the
    tissue; ``n_anchors`` reference cells take part in the attention of each step. While the tissue
    is matched, ``n_matched`` locations and as many cells are compared in each step, the
    discriminator learns ``discriminator_steps`` times, and ``matched_anchor_weight`` replaces
    ``anchor_weight``: places predicted from a few genes are less spread than cells are, so the
    anchor pulls against every matching.

    ``judge_warm_up``: whether to train five more discriminators, which say how well tissue and
    reference can be told apart before the matching (`Alignment.warm_up_accuracy`).
    """

    matching: Matching
    pretrain_epochs: int
    discriminator_epochs: int
    epochs: int
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
    judge_warm_up: bool = True
    seed: int = 0
    device: str = "cpu"

    def with_batch_size(self, batch_size: int) -> AlignmentSettings:
        """Return settings with other batches, and as many that an epoch covers as much as before."""
        max_batches = -(-self.max_batches * self.batch_size // batch_size)
        return replace(self, batch_size=batch_size, max_batches=max_batches)

    def weights(self, matched: bool) -> dict[str, float]:
        """Return the weight of every loss that takes part, while the tissue is matched or not."""
        weights = {
            "reconstruction": self.reconstruction_weight,
            "graph": self.graph_weight,
            "kl": self.kl_weight,
        }
        if self.matching.anchored:
            weights["transfer"] = self.transfer_weight
            weights["anchor"] = self.matched_anchor_weight if matched else self.anchor_weight
        return weights | self.matching.weights if matched else weights
