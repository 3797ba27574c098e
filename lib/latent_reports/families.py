"""README's table of model families: what holds for each, tried on tiny random models in float64.

    python -m latent_reports.families --readme README.md

A cell is ✓ where all numbers agree to 1e-9 (saved = loaded: bit for bit), and else the largest difference, or the error.
"""

import argparse
import copy
import random
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import transformers
from peft.tuners.lora.layer import LoraLayer, ParamWrapper
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from latent_backbones.parts import LanguageModel, body, causal
from latent_cot.curriculum import distill
from latent_cot.evaluation import prompt
from latent_cot.families import UnsupportedModel, check_family
from latent_cot.generation import answer_batch
from latent_cot.methods.codi import CodiOptions, supervise_codi
from latent_cot.models import Reasoner, ReasonerSpec, add_lora, build_reasoner, load_reasoner, save_reasoner
from latent_cot.sequences import Batch, Language, collate, encode
from latent_cot.sequences import Sequence as Text
from latent_cot.supervision import read_language, read_question, read_through
from latent_cot.thoughts import read
from latent_probes.probing import read_along
from latent_reports.small_models import FAMILIES, TASK, InDouble, tiny_model
from latent_runs.records import replace_block

BEGIN, END = "<!-- families:begin -->", "<!-- families:end -->"


def agree(found: Tensor, expected: Tensor) -> None:
    """Raise AssertionError, with the largest difference, unless all numbers agree to 1e-9."""
    assert found.shape == expected.shape, f"{tuple(found.shape)} is not {tuple(expected.shape)}"
    found, expected = found.detach(), expected.detach()
    off = float((found - expected).abs().max() / expected.abs().max().clamp(min=1)) if found.numel() else 0.0
    assert off <= 1e-9, f"off by {off:.1e}"


def texts(reasoner: Reasoner, n_thoughts: Sequence[int] = (3, 0, 2, 1)) -> list[Text]:
    """A problem for each number of thoughts, with CODI's teacher; questions and chains differ in length."""
    problems, rng = encode(TASK.splits["train"][: len(n_thoughts)], reasoner.tokenizer), random.Random(0)
    return [distill(n, True)(problem, reasoner.markers, rng) for problem, n in zip(problems, n_thoughts)]


def teacher_of(batch: Batch) -> Language:
    assert batch.teacher is not None
    return batch.teacher


def reread(reasoner: Reasoner, text: Text) -> tuple[Tensor, Tensor]:
    """Thoughts and logits as the papers describe them: everything is read again for each, by the model's own `forward`."""
    embeds = reasoner.embed(torch.tensor([text.question]))
    for i in range(text.n_thoughts):
        hidden = body(reasoner.lm)(inputs_embeds=embeds, use_cache=False).last_hidden_state[:, -1]
        embeds = torch.cat([embeds, reasoner.writer(hidden, i)[:, None]], 1)
    embeds = torch.cat([embeds, reasoner.embed(torch.tensor([text.language[:-1]]))], 1)
    logits = causal(reasoner.lm)(inputs_embeds=embeds, use_cache=False).logits[0, -len(text.language) :]
    return embeds[0, len(text.question) :][: text.n_thoughts], logits


def alone_as_in_a_batch(reasoner: Reasoner) -> None:
    """Thoughts and logits of problems with unequally many; CODI's losses, whose teacher does not see <bot>."""
    company, codi = texts(reasoner), CodiOptions(divide_by_std=False)
    batch = collate(company, reasoner.markers)
    seen, together = read_through(reasoner, batch), supervise_codi(reasoner, batch, codi)
    apart: dict[str, Tensor | float] = {}
    for i, text in enumerate(company):
        one = collate([text], reasoner.markers)
        alone, losses = read_through(reasoner, one), supervise_codi(reasoner, one, codi)
        agree(seen.thinking.thoughts[i, : text.n_thoughts], alone.thinking.thoughts[0])
        agree(reasoner.head(seen.predicting[i, : len(text.language)]), reasoner.head(alone.predicting[0]))
        shares = {"student": one.language.n_supervised / batch.language.n_supervised, "distill": 1 / len(company)}
        shares["teacher"] = teacher_of(one).n_supervised / teacher_of(batch).n_supervised
        for name, share in shares.items():
            apart[name] = apart.get(name, 0.0) + share * losses[name]
    for name, loss in apart.items():
        agree(together[name], torch.as_tensor(loss))


def cached_as_uncached(reasoner: Reasoner) -> None:
    for text in texts(reasoner):
        one = collate([text], reasoner.markers)
        seen, (thoughts, logits) = read_through(reasoner, one), reread(reasoner, text)
        agree(seen.thinking.thoughts[0], thoughts)
        agree(reasoner.head(seen.predicting[0]), logits)


def forked_as_fresh(reasoner: Reasoner) -> None:
    """Go on from a question in two ways; the second knows nothing of the first, nor of a column hidden from it."""
    text = texts(reasoner, (2,))[0]
    batch = collate([text], reasoner.markers)
    question, levels = read_question(reasoner, batch)
    reasoner.think(question, batch)
    hidden = torch.arange(len(text.question)) < len(text.question) - 1  # <bot>
    teacher = replace(question, mask=question.mask & hidden, hidden=levels[-1][:, -2])
    found = reasoner.head(read_language(reasoner, teacher, teacher_of(batch))[0])
    words = torch.tensor([[*text.question[:-1], *text.teacher[:-1]]])
    agree(found, reasoner.lm(input_ids=words, use_cache=False).logits[:, len(text.question) - 2 :])


def logits_are_its_own(reasoner: Reasoner) -> None:
    text = texts(reasoner, (0,))[0]
    ids = torch.tensor([[*text.question, *text.language]])
    _, levels = read(reasoner.lm, reasoner.embed(ids), torch.ones_like(ids, dtype=torch.bool))
    agree(reasoner.head(levels[-1]), reasoner.lm(input_ids=ids, use_cache=False).logits)


def saved_as_loaded(reasoner: Reasoner) -> None:
    """A folder as a hub has it, a reasoner built on it, trained a little, saved and loaded."""
    lm, (text,) = copy.deepcopy(reasoner.lm).float(), texts(reasoner, (2,))
    with tempfile.TemporaryDirectory() as folder:
        lm.save_pretrained(folder)
        reasoner.tokenizer.save_pretrained(folder)
        built = build_reasoner(ReasonerSpec(lm=folder, writer="projection")).eval()
        with torch.no_grad():
            for parameter in built.parameters():
                parameter.mul_(1.1)
        save_reasoner(built, Path(folder) / "trained")
        loaded = load_reasoner(Path(folder) / "trained").eval()
        batch = collate([text], built.markers)
        before, after = (r.head(read_through(r, batch).predicting) for r in (built, loaded))
        assert torch.equal(before, after), "not the same"


def takes_lora(reasoner: Reasoner) -> None:
    """Every matrix of every layer (experts' too) has an adapter, each adapter learns, and what holds without holds with."""
    lm = copy.deepcopy(reasoner.lm)
    embeddings = {id(table.weight) for table in lm.modules() if isinstance(table, nn.Embedding)}
    linear = [module.weight for module in lm.modules() if isinstance(module, nn.Linear | Conv1D)]
    experts = [weight for weight in lm.parameters() if weight.dim() == 3]
    matrices = {id(w) for w in linear + experts if w is not lm.get_output_embeddings().weight} - embeddings
    adapted = Reasoner(add_lora(lm, LORA), reasoner.tokenizer, LORA).double().eval()
    trained = {name: weight for name, weight in adapted.lm.named_parameters() if weight.requires_grad}
    with torch.no_grad():
        for weight in trained.values():
            weight.normal_(0, 0.2)
    logits_are_its_own(adapted)
    cached_as_uncached(adapted)
    (text,) = texts(adapted, (2,))
    reread(adapted, text)[1].logsumexp(-1).sum().backward()
    assert all("lora_" in name for name in trained), "more than LoRA is trained"
    layers = [module for module in adapted.lm.modules() if isinstance(module, LoraLayer)]
    reached = {id(m.get_param() if isinstance(m, ParamWrapper) else m.get_base_layer().weight) for m in layers}
    assert matrices <= reached, f"{len(matrices & reached)} of {len(matrices)} matrices"
    assert all(weight.grad is not None and weight.grad.any() for weight in trained.values()), "an adapter learns nothing"


LORA = ReasonerSpec(writer="projection", lora_rank=2, lora_dropout=0.0)


def can_be_probed(reasoner: Reasoner) -> None:
    """What is watched is what was thought and said, alone as in a batch; attention looks back only and sums to one."""
    problems = encode(TASK.splits["train"][:3], reasoner.tokenizer)
    doors = [prompt(problem, reasoner.markers, n, at_once=True) for problem, n in zip(problems, (3, 0, 2))]
    for door, reading, said in zip(doors, read_along(reasoner, doors), answer_batch(reasoner, doors, 2)):
        (alone,) = read_along(reasoner, [door])
        for name in ("thoughts", "levels", "attention", "logits"):
            agree(getattr(reading, name), getattr(alone, name))
        agree(reading.thoughts, said.thoughts)
        assert int(reading.logits[-1].argmax()) == said.tokens[0], "another word"
        agree(reasoner.head(reading.levels[-1, -1]), reading.logits[-1])
        agree(reading.attention.sum(-1), torch.ones_like(reading.attention[..., 0]))
        assert not reading.attention.triu(1).any(), "it looks ahead"


COLUMNS: dict[str, Callable[[Reasoner], None]] = {
    "alone = in a batch": alone_as_in_a_batch,
    "cached = uncached": cached_as_uncached,
    "forked = fresh": forked_as_fresh,
    "logits = its own": logits_are_its_own,
    "saved = loaded": saved_as_loaded,
    "LoRA": takes_lora,
    "probing": can_be_probed,
}


def holds(family: str) -> list[str]:
    """What holds for a family: a cell for each of `COLUMNS`; or one, why it is refused."""
    lm, tokenizer = tiny_model(family)
    try:
        check_family(lm)
    except UnsupportedModel as error:
        return [str(error)]
    return [try_one(check, lm, tokenizer) for check in COLUMNS.values()]


def try_one(check: Callable[[Reasoner], None], lm: LanguageModel, tokenizer: PreTrainedTokenizerBase) -> str:
    """✓, or what went wrong."""
    reasoner = Reasoner(copy.deepcopy(lm), tokenizer, ReasonerSpec(writer="projection")).eval()
    try:
        if check is saved_as_loaded:  # files hold float32
            check(reasoner)
        else:
            with InDouble():
                check(reasoner.double())
    except Exception as error:
        return str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}".partition("\n")[0]
    return "✓"


def readme_block(table: Mapping[str, Sequence[str]]) -> str:
    """The table in Markdown: families for which all holds first, then what is refused, by its reason."""
    rows = [["family", *COLUMNS], ["---", *[":---:"] * len(COLUMNS)]]
    rows += [[family, *cells] for family, cells in table.items() if len(cells) > 1]
    refused: dict[str, list[str]] = {}
    for family, (reason, *more) in table.items():
        if not more:
            refused.setdefault(reason.partition(": ")[2].partition(";")[0], []).append(family)
    notes = [f"Refused when they are built: {', '.join(names)}: {reason}." for reason, names in refused.items()]
    lines = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    return "\n\n".join([BEGIN, lines, *notes, "`make families` writes this block.", END])


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m latent_reports.families", description=__doc__.partition("\n")[0])
    parser.add_argument("family", nargs="*", choices=[[], *FAMILIES], help="only these")
    parser.add_argument("--readme", type=Path, metavar="PATH", help="write the table there, between its markers")
    options = parser.parse_args(argv)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    table = {}
    for family in options.family or FAMILIES:
        table[family] = holds(family)
        print(family, *table[family], sep="  ", flush=True)
    if options.readme:
        replace_block(options.readme, readme_block(table))


if __name__ == "__main__":
    main(sys.argv[1:])
