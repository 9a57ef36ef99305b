"""VAEs by name."""

from __future__ import annotations

from stlatent.vae.interface import TrainVAE


def trainer(name: str) -> TrainVAE:
    """Return the function that trains the VAE called ``name``.

    Raises
    ------
    ValueError
        Naming the VAEs there are.
    """
    if name == "scvi":
        from stlatent.vae.scvi_model import train_scvi

        return train_scvi
    msg = f"unknown VAE {name!r}: choose scvi"
    raise ValueError(msg)
