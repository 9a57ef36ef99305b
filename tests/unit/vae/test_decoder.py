from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stlatent.vae.decoder import HEADS, Decoder, Layer


def test_layers_and_head_by_hand() -> None:
    hidden = Layer(torch.tensor([[1.0], [-1.0]]), torch.tensor([0.0, 1.0]), "relu")
    out = Layer(torch.tensor([[2.0, 1.0]]), torch.tensor([0.5]))
    found = Decoder((hidden, out), "identity", "log")(torch.tensor([[3.0], [-3.0]]))
    # relu(3, -2) = (3, 0) and relu(-3, 4) = (0, 4).
    assert found.tolist() == [[6.5], [4.5]]


def test_batches_are_averaged_after_the_head() -> None:
    weight, offsets = torch.zeros(2, 1), torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    decoder = Decoder((Layer(weight, offsets),), "softmax", "share")
    assert decoder.n_batches == 2
    expected = torch.tensor([[(0.5 + 0.75) / 2, (0.5 + 0.25) / 2]])
    torch.testing.assert_close(decoder(torch.zeros(1, 1)), expected)


@pytest.mark.parametrize(
    ("head", "expected"),
    [("softmax", [0.2, 0.8]), ("exp", [1.0, 4.0]), ("sigmoid", [0.5, 0.8]), ("identity", [0, 1.386294])],
)  # fmt: skip
def test_every_head_by_hand(head: str, expected: list[float]) -> None:
    layer = Layer(torch.zeros(2, 1), torch.tensor([0.0, math.log(4)]))
    found = Decoder((layer,), head, "log")(torch.zeros(1, 1))
    torch.testing.assert_close(found, torch.tensor([expected], dtype=torch.float32))
    assert head in HEADS


def test_shares_are_brought_to_the_working_scale_and_logarithms_left() -> None:
    layer = Layer(torch.zeros(2, 1), torch.tensor([0.0, math.log(4)]))
    z = np.zeros((1, 1), dtype=np.float32)
    shares = Decoder((layer,), "softmax", "share").decode(z, covered=0.5)
    np.testing.assert_allclose(shares, np.log1p([[1000, 4000]]), rtol=1e-6)
    logs = Decoder((layer,), "identity", "log").decode(z, covered=0.5)
    np.testing.assert_allclose(logs, [[0, np.log(4)]], rtol=1e-6)
    assert shares.dtype == logs.dtype == np.float32


def test_a_decoder_is_rebuilt_from_tensors_and_names(tmp_path) -> None:
    layers = (
        Layer(torch.ones(3, 2), torch.ones(4, 3), "relu"),
        Layer(torch.ones(5, 3), torch.ones(5)),
    )
    decoder = Decoder(layers, "softmax", "share")
    torch.save(decoder.to_state(), tmp_path / "d.pt")
    again = Decoder.from_state(torch.load(tmp_path / "d.pt", weights_only=True))
    assert (again.head, again.scale, again.n_batches) == ("softmax", "share", 4)
    z = torch.randn(7, 2)
    assert torch.equal(again(z), decoder(z))
