"""Alignment of a tissue to the frozen latent space of its reference."""
