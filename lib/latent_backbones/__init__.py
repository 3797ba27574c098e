"""Language models as transformers has them: where they come from, their parts, what they keep of what they read, files."""
