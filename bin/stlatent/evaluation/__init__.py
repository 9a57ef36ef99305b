"""How good the imputed expression and the latent spaces are."""
