"""Families of models: what README's table says holds, a broken library is seen, and what cannot think is refused."""

import pytest
import torch
from test_thoughts import close
from transformers import AutoConfig, AutoModelForCausalLM

from latent_backbones import columns
from latent_backbones.parts import body
from latent_cot import families, thoughts
from latent_cot.families import TRIED, UnsupportedModel, check_family, context_length, lens, own_logits
from latent_cot.models import ReasonerSpec, build_reasoner
from latent_cot.sequences import ContextTooLong, Sequence, check_length
from latent_cot.thoughts import read
from latent_cot.writers import build_writer
from latent_reports.families import COLUMNS, holds, readme_block, try_one
from latent_reports.small_models import FAMILIES, InDouble, tiny_model
from latent_runs.places import ROOT

REFUSED = ("mamba", "jamba", "falcon_h1", "lfm2")
THINKING = [family for family in FAMILIES if family not in REFUSED]


def model_type(family: str) -> str:
    return family.partition(",")[0]


@pytest.fixture(scope="module")
def table() -> dict[str, list[str]]:
    return {}


@pytest.mark.parametrize("family", FAMILIES)
def test_all_holds_for_a_family_or_it_is_refused(family, table):
    table[family] = holds(family)
    if family in REFUSED:
        assert len(table[family]) == 1 and "running state" in table[family][0] and f"'{family}'" in table[family][0]
    else:
        assert table[family] == ["✓"] * len(COLUMNS)


def test_readme_says_what_was_computed(table):
    """The tests above computed it."""
    assert readme_block({f: table.get(f) or holds(f) for f in FAMILIES}) in (ROOT / "README.md").read_text()


def test_families_that_need_no_test_when_built_are_those_of_the_table():
    assert {model_type(family) for family in THINKING} == set(TRIED)


# --- the table can say no ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "family", ["mistral, window", "gemma3_text, window", "qwen2, window", "gpt_neo, local attention", "mpt"]
)
def test_counting_columns_would_be_seen(family, monkeypatch):
    monkeypatch.setattr(thoughts, "stand_together", lambda mask: True)
    cells = {name: try_one(check, *tiny_model(family)) for name, check in COLUMNS.items()}
    assert "off by" in cells["alone = in a batch"] and "off by" in cells["forked = fresh"]
    assert cells["cached = uncached"] == "✓"
    with pytest.raises(UnsupportedModel, match="in a batch what it says alone"):
        check_family(tiny_model(family)[0])


@pytest.mark.parametrize("family", ["granite", "cohere", "gemma2, window"])
def test_a_bare_head_would_be_seen(family, monkeypatch):
    monkeypatch.setattr("latent_cot.models.own_logits", lambda lm: lm.get_output_embeddings())
    assert "off by" in dict(zip(COLUMNS, holds(family), strict=True))["logits = its own"]


def test_a_cache_that_is_not_forked_would_be_seen(monkeypatch):
    monkeypatch.setattr(thoughts, "fork", lambda cache: cache)
    (reason,) = holds("llama")
    assert "nothing else can go on from the same place" in reason


# --- what is refused when it is built ------------------------------------------------------------------------------


def as_folder(family: str, folder, **changes) -> str:
    lm, tokenizer = tiny_model(family)
    lm.config.update(changes)
    lm.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("family", REFUSED)
def test_a_recurrent_model_is_refused_with_the_reason(family, tmp_path):
    with pytest.raises(UnsupportedModel, match="running state"):
        build_reasoner(ReasonerSpec(lm=as_folder(family, tmp_path)))


def test_an_unknown_family_is_tried_not_looked_up(tmp_path, monkeypatch):
    """The same model is built where it can think and refused where it cannot: by what it does, not by its name."""
    folder = as_folder("granite", tmp_path)
    monkeypatch.setattr("latent_cot.models.TRIED", ())
    assert build_reasoner(ReasonerSpec(lm=folder))

    def think_alike(lm, context, n_thoughts, write):
        return thoughts.think(lm, context, n_thoughts.max().expand_as(n_thoughts), write)

    broken = {
        "not those of its own forward": ("own_logits", lambda lm: lm.get_output_embeddings()),
        "in a batch what it says alone": ("think", think_alike),
    }
    for reason, (name, instead) in broken.items():
        with monkeypatch.context() as patch:
            patch.setattr(families, name, instead)
            with pytest.raises(UnsupportedModel, match=reason) as told:
                build_reasoner(ReasonerSpec(lm=folder))
            assert "'granite'" in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2, window", "bloom", "mixtral, window, experts"])
def test_rounding_is_no_reason(family, dtype):
    check_family(tiny_model(family)[0].to(dtype))


def test_a_family_outside_of_the_table_thinks(tmp_path):
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = AutoConfig.for_model("stablelm", vocab_size=60, num_key_value_heads=2, max_position_embeddings=96, **shape)
    assert config.model_type not in TRIED
    check_family(AutoModelForCausalLM.from_config(config))


# --- what families call by other names -----------------------------------------------------------------------------


@pytest.mark.parametrize("family", THINKING)
def test_context_length_is_known_or_without_limit(family):
    lm, _ = tiny_model(family)
    found, long = context_length(lm), Sequence("long", (1,) * 97, 0, ())
    if family == "bloom":
        check_length(long, found)
    elif model_type(family) == "falcon":
        assert found == 2048
    else:
        assert found == 96
        with pytest.raises(ContextTooLong, match="'long' needs 97"):
            check_length(long, found)


def test_narrow_embeddings_are_the_width_of_thoughts():
    """OPT-350m's kind: the levels between are wider than embeddings and last states."""
    lm, tokenizer = tiny_model("opt, narrow embeddings")
    assert body(lm).config.hidden_size == 32
    writer = build_writer("projection", lm, tokenizer)
    assert writer(torch.randn(3, 16)).shape == (3, 16)
    assert build_writer("hidden", lm, tokenizer)(torch.ones(1, 16), 0).shape == (1, 16)
    _, levels = read(lm, torch.randn(1, 4, 16), torch.ones(1, 4, dtype=torch.bool))
    assert [level.shape[2] for level in levels] == [32, 32, 16]
    assert lens(lm)(levels[1]).shape == (1, 4, 16)


def test_a_model_without_a_final_norm_of_its_own_says_so():
    lm, _ = tiny_model("llama")
    forward = lm.model.forward
    lm.model.forward = lambda **given: _doubled(forward(**given))
    with pytest.raises(UnsupportedModel, match="llama: what follows its last layer"):
        lens(lm)


def _doubled(output):
    output.last_hidden_state = 2 * output.last_hidden_state
    return output


def test_closing_up_keeps_every_real_column_in_order():
    lm, _ = tiny_model("llama")
    ids = torch.tensor([[3, 20, 21, 22], [23, 24, 25, 26], [27, 28, 3, 3]])
    mask = torch.tensor([[False, True, True, True], [True, True, True, False], [True, True, False, False]])
    context, _ = read(lm, lm.get_input_embeddings()(ids), mask)
    assert columns.stand_together(mask) and not columns.stand_together(torch.cat([mask, ~mask[:, :1] | True], 1))
    cache, kept = columns.close_up(context.cache, mask)
    assert torch.equal(kept, torch.tensor([[True] * 3, [True] * 3, [False, True, True]]))
    for before, after in zip(context.cache.layers, cache.layers, strict=True):
        for row in range(3):
            assert torch.equal(after.keys[row][:, kept[row]], before.keys[row][:, mask[row]])
            assert torch.equal(after.values[row][:, kept[row]], before.values[row][:, mask[row]])
    assert context.cache.get_seq_length() == 4
    hidden = torch.tensor([[False, True, True, False], [True, True, True, False], [False, False, True, False]])
    cut, kept = columns.close_up(context.cache, hidden)  # only what is behind: nothing has to move
    assert torch.equal(kept, hidden[:, :3])
    assert all(torch.equal(a.keys, b.keys[:, :, :3]) for a, b in zip(cut.layers, context.cache.layers, strict=True))


def test_logits_out_of_the_forward_pass_cost_nothing_that_stays():
    """No weight is copied, none is registered twice, and the model is left as it was."""
    lm, _ = tiny_model("gemma2, window")
    before = [(name, id(weight)) for name, weight in lm.named_parameters()]
    with InDouble():
        lm = lm.double()
        states = torch.randn(2, 3, 32)
        expected = (lm.lm_head(states) / 2.0).tanh() * 2.0
        torch.testing.assert_close(own_logits(lm)(states), expected, **close)
    assert [(name, id(weight)) for name, weight in lm.named_parameters()] == before
