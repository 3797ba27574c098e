"""What people see: the figures of the lessons, and the thought-decoding instrument, its models and its demo page."""
