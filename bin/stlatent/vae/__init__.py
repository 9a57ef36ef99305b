"""Variational autoencoders of the reference behind one interface."""
