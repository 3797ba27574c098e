"""Chain of thought in continuous latent space: a thin library for learning and reproduction."""

__version__ = "0.1.0"
