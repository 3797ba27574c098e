"""The benchmark runs from end to end at a tiny size and reports what it says it does."""

import math

from latent_costs.bench import Size, bench

TINY = Size(d_model=16, n_layers=1, n_heads=2, vocabulary=300, new_tokens=(2, 3), matrix=64, batch=2, n_problems=4, asked=(2, 1), every_stage=True)


def test_bench():
    shown = []
    result = bench(TINY, shown.append)
    assert result["rows"] == shown
    assert len(shown) == 2 * (2 * len(TINY.asked) + 6)  # fp32 and bf16 of the ways to answer and to train
    for row in shown:
        numbers = [value for value in row.values() if not isinstance(value, str)]
        assert len(numbers) == 4 and all(math.isfinite(n) and n > 0 for n in numbers), row
