"""Chain of thought in continuous latent space: a thin library for learning and reproduction."""
