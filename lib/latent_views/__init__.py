"""What people see: the figures of the lessons, and the page on which a model is watched as it thinks: its models, its forms."""
