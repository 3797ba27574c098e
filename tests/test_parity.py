"""Loss, gradients and greedy tokens agree with what the official implementations compute (float64, tiny weights).

`pytest tests/test_parity.py --golden DIR` runs any folder of such cases, with `--device cuda` on a GPU;
tests/golden/README.md gives the format.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import golden_formulae
import pytest
import torch
from golden_formulae import DOOR_BEHIND
from safetensors.torch import load_file
from tokenizers import Tokenizer, models
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from latent_backbones.tokens import Markers
from latent_backbones.weights import load_lm, load_official
from latent_cot.generation import answer_batch
from latent_cot.methods.codi import CodiOptions, supervise_codi
from latent_cot.models import Reasoner, ReasonerSpec, add_lora
from latent_cot.sequences import Sequence, collate
from latent_cot.supervision import read_question, supervise_language
from latent_cot.thoughts import read

FLOAT32 = 2**-23  # transformers' Llama computes its loss in float32, whatever the weights are; the gradients are not so coarse


def pytest_generate_tests(metafunc):
    folder = Path(metafunc.config.getoption("--golden"))
    cases = {kind: sorted(folder.glob(f"{kind}_*.json")) for kind in ("coconut", "codi", "softcot")}
    if not any(cases.values()):
        raise pytest.UsageError(f"{folder} has no golden case: no {'_*.json, '.join(cases)}_*.json")
    for kind in cases:
        if f"{kind}_case" in metafunc.fixturenames:
            absent = pytest.param(None, marks=pytest.mark.skip(f"no {kind}_*.json in {folder}"), id=f"no-{kind}")
            found = [pytest.param(path, id=path.stem) for path in cases[kind]]
            metafunc.parametrize(f"{kind}_case", found or [absent])


@pytest.fixture(autouse=True)
def on_the_device_asked_for(request):
    """All tensors of a case are made where `--device` says."""
    torch.set_default_device(request.config.getoption("--device"))
    yield
    torch.set_default_device("cpu")


@dataclass
class Case:
    facts: dict
    reasoner: Reasoner


def load_case(path: Path, ids: dict, new_tokens: int, spec: ReasonerSpec, lora: dict | None = None) -> Case:
    facts = json.loads(path.read_text())
    config = AutoConfig.for_model(**{k: v for k, v in facts["config"].items() if k != "_attn_implementation_autoset"})
    config.vocab_size += new_tokens
    names = {ids["pad"]: "<pad>", ids["eos"]: "<eos>", ids["bot"]: "<bot>", ids["eot"]: "<eot>"}
    vocabulary = {names.get(i, f"w{i}"): i for i in range(config.vocab_size)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>")), pad_token="<pad>", eos_token="<eos>"
    )
    lm = AutoModelForCausalLM.from_config(config, dtype=torch.float64)
    if lora:
        lm = add_lora(lm, spec).double()
    reasoner = Reasoner(lm, tokenizer, spec).double()
    load_official(reasoner, path.with_suffix(".safetensors"))
    return Case(facts, reasoner)


def check_gradients(reasoner: Reasoner, expected: dict[str, float], rename) -> None:
    norms = {rename(n): p.grad.norm().item() for n, p in reasoner.named_parameters() if p.grad is not None}
    assert set(expected) <= set(norms)
    for name, norm in expected.items():
        assert norms[name] == pytest.approx(norm, rel=1e-7, abs=1e-12), name


def coconut(path: Path) -> Case:
    ids = json.loads(path.read_text())["ids"]
    ids = {"pad": ids["pad"], "eos": ids["eos"], "bot": ids["start_latent"], "eot": ids["end_latent"]}
    return load_case(path, ids, 0, ReasonerSpec(writer="hidden"))


def split_coconut(facts: dict, n: int) -> Sequence:
    """The official flat ids, cut where our sequences are cut."""
    example, latent = facts["examples"][n], facts["ids"]["latent"]
    ids = example["input_ids"]
    first, n_thoughts = ids.index(latent), ids.count(latent)
    return Sequence(str(n), tuple(ids[:first]), n_thoughts, tuple(ids[first + n_thoughts :]), n_unsupervised=1)


def test_coconut_loss_and_gradients(coconut_case):
    case = coconut(coconut_case)
    sequences = [split_coconut(case.facts, n) for n in range(len(case.facts["examples"]))]
    loss = supervise_language(case.reasoner, collate(sequences, case.reasoner.markers))["ce"]
    assert loss.item() == pytest.approx(case.facts["loss"], rel=1e-9)
    loss.backward()
    check_gradients(case.reasoner, case.facts["gradient_norms"], lambda name: name.removeprefix("lm."))


def test_coconut_greedy_tokens(coconut_case):
    """All problems in one batch; the official code answers one at a time, without a cache."""
    case = coconut(coconut_case)
    prompts = []
    for n in range(len(case.facts["examples"])):
        s = split_coconut(case.facts, n)
        prompts.append(Sequence(s.id, s.question, s.n_thoughts, s.language[:1]))
    answers = answer_batch(case.reasoner, prompts, case.facts["max_new_tokens"])
    eos = case.facts["ids"]["eos"]
    for ours, theirs in zip(answers, case.facts["greedy_new_tokens"], strict=True):
        if theirs[:1] == [eos]:  # the official code never checks the first new token for the end; ours stops there
            theirs = []
        assert [t for t in ours.tokens if t != eos] == theirs


def codi(path: Path) -> tuple[Case, CodiOptions]:
    facts = json.loads(path.read_text())
    options = facts["options"]
    lora = facts["lora"] if facts["lora"]["use"] else None
    projection = {"width": options["prj_dim"], "norm": not options["prj_no_ln"]}
    spec = ReasonerSpec(
        writer="projection" if options["use_prj"] else "hidden",
        writer_options=projection if options["use_prj"] else {},
        lora_rank=lora["r"] if lora else 0,
        lora_alpha=lora["alpha"] if lora else 0,
        lora_dropout=0.0,
    )
    case = load_case(path, facts["ids"], 3, spec, lora)
    return case, CodiOptions(
        n_thoughts=options["num_latent"],
        distance=options["distill_loss_type"],
        divide_by_std=options["distill_loss_div_std"],
        distill_weight=options["distill_loss_factor"],
        teacher_weight=options["ref_loss_factor"],
        attend_to_padding="thoughts" if options["fix_attn_mask"] else True,
    )


def ragged(facts: dict) -> bool:
    return len({len(example["question"]) for example in facts["examples"]}) > 1


@pytest.mark.parametrize("attend_to_padding", ["as the case says", False, True, "thoughts"])
def test_codi_losses_and_gradients(codi_case, attend_to_padding):
    """Where questions are equally long there is no padding, so all ways of treating it agree with the official numbers; where
    they are not, only the way that `fix_attn_mask` names does, and the others differ."""
    case, options = codi(codi_case)
    ours = options.attend_to_padding if attend_to_padding == "as the case says" else attend_to_padding
    if ragged(case.facts) and ours != options.attend_to_padding:
        parts = codi_losses(case, CodiOptions(**{**vars(options), "attend_to_padding": ours}))
        apart = abs(sum(parts.values()).item() - case.facts["loss"])
        assert apart > 1e-6 * case.facts["loss"], "a case that cannot tell the ways apart"
        return
    losses = codi_losses(case, CodiOptions(**{**vars(options), "attend_to_padding": ours}))
    for ours, theirs in (("student", "ce_loss"), ("distill", "distill_loss"), ("teacher", "ref_ce_loss")):
        assert losses[ours].item() == pytest.approx(case.facts[theirs], rel=tolerance(case.facts))
    loss = sum(losses.values())
    assert loss.item() == pytest.approx(case.facts["loss"], rel=tolerance(case.facts))
    loss.backward()
    official = {"lm.": "codi.", "writer.": "prj."}
    check_gradients(
        case.reasoner,
        case.facts["gradient_norms"],
        lambda name: next(new + name.removeprefix(old) for old, new in official.items() if name.startswith(old)),
    )


def tolerance(facts: dict) -> float:
    """transformers' Llama normalises in float32, whatever the weights are."""
    return 1e-9 if facts["arch"] == "gpt2" else FLOAT32


def codi_losses(case: Case, options: CodiOptions) -> dict[str, torch.Tensor]:
    ids, sequences = case.facts["ids"], []
    for n, example in enumerate(case.facts["examples"]):
        door = len(ids["answer_prompt"]) - 1 + DOOR_BEHIND[case.facts["arch"]]
        sequences.append(
            Sequence(
                id=str(n),
                question=(*example["question"], ids["bot"]),
                n_thoughts=options.n_thoughts,
                language=(ids["eot"], *example["answer"]),
                n_unsupervised=1,
                door=1 + door,
                teacher=(*example["cot"], *example["answer"]),
                teacher_door=len(example["cot"]) + door,
            )
        )
    return supervise_codi(case.reasoner, collate(sequences, case.reasoner.markers), options)


def test_the_formulae_say_what_the_official_code_does(codi_case):
    """`golden_formulae` made the cases that are missing; here it is held against those that the official code has made."""
    case, _ = codi(codi_case)
    lora, projection = case.facts["lora"]["use"], case.reasoner.writer if case.facts["options"]["use_prj"] else None
    prj = (lambda hidden: projection(hidden[:, 0])[:, None]) if projection else None
    found = golden_formulae.losses(case.reasoner.lm, prj, case.facts)
    for ours, theirs in zip(found, ("ce_loss", "distill_loss", "ref_ce_loss"), strict=True):
        assert ours.item() == pytest.approx(case.facts[theirs], rel=tolerance(case.facts)), (lora, theirs)


def test_every_option_of_the_format_has_a_case():
    facts = [json.loads(path.read_text()) for path in (Path(__file__).parent / "golden").glob("codi_*.json")]
    options = [one["options"] | {"arch": one["arch"], "lora": one["lora"]["use"], "ragged": ragged(one)} for one in facts]
    for name in ("use_prj", "prj_no_ln", "distill_loss_div_std", "fix_attn_mask", "lora", "ragged"):
        assert {one[name] for one in options} == {False, True}, name
    assert {one["arch"] for one in options} == {"gpt2", "llama"}
    assert {one["distill_loss_type"] for one in options} == {"smooth_l1", "l1", "l2"}
    assert {(one["ragged"], one["fix_attn_mask"]) for one in options} >= {(True, False), (True, True), (False, False)}


def golden_lm(config: dict, weights: dict[str, torch.Tensor], prefix: str) -> torch.nn.Module:
    lm = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), dtype=torch.float64)
    load_lm(lm, {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)})
    return lm


@pytest.mark.parametrize("more", [0, 3])
def test_softcot_loss_gradients_and_logits(softcot_case, more, tmp_path):
    """Also when the assistant has `more` states at hand than become thoughts."""
    facts, weights = json.loads(softcot_case.read_text()), load_file(softcot_case.with_suffix(".safetensors"))
    assistant = golden_lm(facts["assistant_config"], weights, "assistant_model.")
    lm = golden_lm(facts["base_config"], weights, "base_model.")
    spec = ReasonerSpec(writer="assistant", writer_options={"d_assistant": assistant.config.hidden_size})
    reasoner = Reasoner(lm, PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({}))), spec).double()
    torch.save({n: w for n, w in weights.items() if n.startswith("projection.")}, tmp_path / "projection.bin")
    load_official(reasoner, tmp_path / "projection.bin")
    sequences = []
    for n, (start, end, first, last) in enumerate(facts["thought_index"]):
        ids = torch.tensor(facts["assistant_input_ids"][n])[None, : last + more]
        _, levels = read(assistant, assistant.get_input_embeddings()(ids), torch.ones_like(ids, dtype=torch.bool))
        base, learned = facts["base_input_ids"][n], [label != -100 for label in facts["labels"][n]]
        states = levels[-1][:, first:].detach()
        prompt = {"n_thoughts": end - start, "n_unsupervised": learned.index(True) - end, "states": states}
        sequences.append(Sequence(str(n), tuple(base[:start]), language=tuple(base[end:]), **prompt))
    batch = collate(sequences, Markers(pad=0, eos=2, bot=None, eot=None))
    loss = supervise_language(reasoner, batch)["ce"]
    assert loss.item() == pytest.approx(facts["loss"], rel=FLOAT32)
    loss.backward()
    check_gradients(reasoner, facts["gradient_norms"], lambda name: name.replace("writer.", "projection."))
    context = reasoner.think(read_question(reasoner, batch)[0], batch).context
    context, _ = read(lm, reasoner.embed(batch.language.ids), batch.language.mask, context)
    torch.testing.assert_close(reasoner.head(context.hidden), torch.tensor(facts["last_logits"]).double(), rtol=1e-6, atol=1e-9)


def test_a_folder_may_have_some_kinds_of_cases_but_not_none(tmp_path):
    """Kinds that are absent are skipped, with the reason; an empty folder is an error."""
    with pytest.raises(pytest.UsageError, match=f"{tmp_path} has no golden case"):
        pytest_generate_tests(SimpleNamespace(config=SimpleNamespace(getoption=lambda _: tmp_path), fixturenames=()))
    command = [sys.executable, "-m", "pytest", __file__, "-q", "-rs", "-k", "loss", "--color=no", "--golden", tmp_path]
    for path in (Path(__file__).parent / "golden").glob("softcot_*"):
        shutil.copy(path, tmp_path)
    some = subprocess.run(command, capture_output=True, text=True)
    assert some.returncode == 0 and "2 passed, 5 skipped" in some.stdout and "no codi_*.json in" in some.stdout
