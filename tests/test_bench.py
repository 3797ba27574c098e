"""The benchmark runs from end to end at a tiny size and reports what it says it does."""

import json
import math

import pytest
import torch

from latent_backbones.tokens import tiny_tokenizer
from latent_costs.bench import Size, bench, beside, build
from latent_costs.peers import AsBefore
from latent_costs.speed import BEGIN, END, FIGURE, page

SHAPE = {"d_model": 16, "n_layers": 1, "n_heads": 2, "vocabulary": 300, "matrix": 64}
TINY = Size(**SHAPE, new_tokens=(2, 3), batch=2, n_problems=4, asked=(2, 1), repeats=1, every_stage=True)
# Stands for a checkout of the official code, with its interface: a loss of the ids, and an answer token by token.
COCONUT = """
import torch

class Coconut(torch.nn.Module):
    def __init__(self, lm, latent, start, end, eos):
        super().__init__()
        self.lm, self.latent = lm, latent

    def forward(self, ids, mask, labels, places):
        assert (ids == self.latent).sum(1).tolist() == [6] * len(ids)
        before = self.lm(input_ids=ids[:, :60], attention_mask=mask[:, :60], position_ids=places[:, :60])
        pairs = [(k[:, :, :60], v[:, :, :60]) for k, v in before.past_key_values]
        rest = self.lm(input_ids=ids[:, 60:], attention_mask=mask, position_ids=places[:, 60:], past_key_values=pairs)
        logits = rest.logits[:, :-1]
        return type("Outputs", (), {"loss": torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 61:].flatten())})

    def generate(self, ids, mask, max_new_tokens):
        assert len(ids) == 1
        for _ in range(max_new_tokens):
            ids = torch.cat([ids, self.lm(input_ids=ids).logits[:, -1:].argmax(-1)], 1)
        return ids
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder, shown = tmp_path_factory.mktemp("checkouts"), []
    (folder / "coconut").mkdir()
    (folder / "coconut" / "coconut.py").write_text(COCONUT)
    result = bench(TINY, shown.append)
    assert result["rows"] == shown
    return result | {"machine": {"name": "a CPU", "gpus": 0}, "peers": beside(folder, TINY)}


def test_bench(measured):
    rows = measured["rows"]
    assert len(rows) == 2 * (2 * len(TINY.asked) + 6)  # fp32 and bf16 of the ways to answer and to train
    for row in rows:
        numbers = [value for value in row.values() if not isinstance(value, str)]
        assert len(numbers) == 4 + ("1 at once" in row["what"]) and all(math.isfinite(n) and n > 0 for n in numbers), row
    assert [(row["grows"], row["to"]) for row in measured["scaling"]][:4] == [("thoughts", n) for n in (0, 3, 6, 12)]
    assert all(row["seconds"] > 0 for row in measured["scaling"])


def test_both_sides_of_a_pair_are_timed(measured):
    peers = measured["peers"]
    assert [row["precision"] for row in peers] == ["fp32"] * 3 + ["bf16"] * 3
    for row in peers:
        assert row["ratio"] == pytest.approx(row["ours"] / row["theirs"]) and row["ratio"] > 0
        assert row["seconds"]["ours"]["n"] == row["seconds"]["theirs"]["n"]


def test_a_folder_without_checkouts_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkout called coconut or codi"):
        beside(tmp_path, TINY)


def test_a_cache_as_it_was_is_read_as_one_of_today():
    lm = build(tiny_tokenizer(("a", "b")), TINY, "hidden").lm.eval()
    before = AsBefore(lm.config).eval()
    before.load_state_dict(lm.state_dict())
    ids = torch.tensor([[1, 2, 3, 4, 5]])
    pairs = before(input_ids=ids[:, :3]).past_key_values
    found = before(input_ids=ids[:, 3:], past_key_values=pairs).logits
    torch.testing.assert_close(found, lm(input_ids=ids).logits[:, 3:])


def test_readme_has_what_was_measured(measured, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"## Speed\n\n{BEGIN}\n{END}\nnext\n")
    page(json.loads(json.dumps(measured)), readme)
    text = readme.read_text()
    assert text.startswith("## Speed\n") and text.endswith(f"{END}\nnext\n")
    for row in measured["rows"] + measured["peers"]:
        assert f"| {row['what']} | {row['precision']} |" in text
    assert "of the bandwidth" in text and (tmp_path / FIGURE).stat().st_size
