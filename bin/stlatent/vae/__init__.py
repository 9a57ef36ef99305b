"""Latent spaces of the reference behind one interface, VAEs and PCA alike."""
