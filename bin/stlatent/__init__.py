"""Latent-space inference for spatial transcriptomics."""

__version__ = "0.1.0"
