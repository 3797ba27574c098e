"""Seconds a question, measured so that they can be compared: in one process, warm, in turns, several times.

The wall time of a run tells of whatever else the machine did meanwhile. Here the ways to be compared take turns, question
by question, so that what slows the machine slows all of them, and the middle of many times is kept.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import TypedDict


class Seconds(TypedDict):
    """The median of `n` times, and their quartiles."""

    median: float
    low: float
    high: float
    n: int


def interleaved(ways: Mapping[str, Callable[[int], object]], n: int, repeats: int = 3, share: int = 1) -> dict[str, Seconds]:
    """Each way is called with 0 … n - 1 in turn with the others, `repeats` times over, after an untimed call of each; a call
    answers `share` questions."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(0)
    for turn in range(n * repeats):
        first = turn % len(ways)  # nobody always comes behind the same
        for name in [*ways][first:] + [*ways][:first]:
            started = time.perf_counter()
            ways[name](turn % n)
            taken[name].append((time.perf_counter() - started) / share)
    return {name: _spread(times) for name, times in taken.items()}


def _spread(times: list[float]) -> Seconds:
    low, _, high = statistics.quantiles(times, n=4) if len(times) > 1 else times * 3
    return {"median": statistics.median(times), "low": low, "high": high, "n": len(times)}
