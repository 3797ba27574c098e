"""The benchmark runs from end to end at a tiny size and reports what it says it does."""

import math

import torch

from latent_costs.bench import Size, bench, grouped, middles

TINY = Size(
    d_model=16,
    n_layers=1,
    n_heads=2,
    vocabulary=300,
    lora_rank=2,
    problems=24,
    batch_size=4,
    batches=1,
    asked=4,
    new_tokens=(2, 3),
    repeats=1,
    matrix=64,
)


def test_bench(monkeypatch):
    monkeypatch.delenv("LATENT_COT_DATA", raising=False)  # random tokens, a vocabulary of 300
    shown = []
    result = bench(TINY, shown.append)
    assert "random tokens" in result["data"]
    assert result["rows"] == shown
    assert len(shown) == 2 * 5  # fp32 and bf16 of two ways to answer and three to train
    for row in shown:
        numbers = [value for value in row.values() if not isinstance(value, str)]
        assert len(numbers) == 3 and all(math.isfinite(n) and n > 0 for n in numbers), row
    for share in result["padding"].values():
        assert 0 <= share["grouped"] < share["random"] < 1


def test_batches_in_the_middle_stand_for_all():
    assert middles(range(9), 3) == [1, 4, 7]
    lengths = torch.randint(5, 50, (40,)).tolist()
    batches = grouped(lengths, 4)
    assert sorted(i for batch in batches for i in batch) == list(range(40))
    means = [sum(lengths[i] for i in batch) for batch in batches]
    assert means == sorted(means)
