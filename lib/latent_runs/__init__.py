"""Runs: the grid, one notebook run headlessly, the records that it leaves."""
