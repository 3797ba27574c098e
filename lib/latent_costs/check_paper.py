"""Every row of the paper tier, tried without a GPU: `make check-paper`, or

    python -m latent_costs.check_paper [--tier TIER] [--only GLOB] [--record]

A row's notebook is rehearsed: it reads real lines, builds its model at the real shape with random weights, its method and
its options. Then it takes two optimiser steps (the first and the last stage, of two problems each) on this machine. Beside it
stands what the row will cost on a GPU (`estimate`), on the lengths of the lines just read.

What is not at hand is stood in for, and said: a split without lines takes another split's, GSM8k-Aug-NL takes GSM8K's own
sentences, ASDiv-Aug takes ASDiv, LLaMA and Qwen take SmolLM2's tokenizer, a model that is too large for this machine loses
layers.
`--record` keeps the lengths for `estimate`.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Tokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from latent_backbones.sources import smollm2_folder
from latent_backbones.tokens import add_markers
from latent_costs.estimate import COLUMNS, LENGTHS, Estimate, blank_plan, estimate, lengths_key, line, row, sample
from latent_costs.estimate import training_runs as runs_of
from latent_costs.flops import SHAPES, Shape, cut
from latent_costs.rehearsal import Plan, rehearse
from latent_cot.models import Reasoner, ReasonerSpec, build_reasoner
from latent_cot.training import train
from latent_runs.plan import Run
from latent_runs.records import write_atomic
from latent_tasks import Problem, Task, load_task
from latent_tasks.files import read_records

NEAREST = {"gsm8k-aug-nl": "gsm8k", "asdiv-aug": "asdiv"}  # tasks without published files, and whose problems stand in
LINES = 300  # training lines that a row reads
FEW = 16  # of them, where a large assistant has to read each
LARGEST = 1.5e9  # parameters that are kept; a larger model is cut to this many layers:
LAYERS_KEPT = 2
TINY = "tiny"  # built as it is
OWN_TOKENIZER = (TINY, "smollm2")
MADE_THERE = ("smaller", "base", "random")  # assistants that lesson 05 makes of the model that answers
SMALL = 3e5  # weights of a parameter that is looked at after the two steps: did it move?


def tokenizer_for(lm: str, vocabulary: int) -> PreTrainedTokenizerBase:
    """GPT-2's own tokenizer; for others SmolLM2's with unused words up to the size of the vocabulary."""
    if "gpt2" in lm:
        folder = Path(os.environ["LATENT_COT_DATA"]) / "gpt2_tokenizer"
        return GPT2Tokenizer(vocab=str(folder / "encoder.json"), merges=str(folder / "vocab.bpe"))
    tokenizer = AutoTokenizer.from_pretrained(smollm2_folder())
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    words = parts["model"]["vocab"]
    words |= {f"<unused{i}>": i for i in range(len(tokenizer), vocabulary)}
    special = {"eos_token": tokenizer.eos_token, "chat_template": tokenizer.chat_template}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(parts)), **special)


@functools.cache
def depth(lm: str) -> int:
    """How many layers of a model are checked."""
    if lm == TINY:
        return 0
    with torch.device("meta"):
        size = AutoModelForCausalLM.from_config(SHAPES[lm]).num_parameters()
    return SHAPES[lm].num_hidden_layers if size <= LARGEST else LAYERS_KEPT


def write_model(lm: str, folder: Path) -> None:
    """A model folder of a published shape, the markers included: random weights in bf16, and a tokenizer."""
    config = cut(lm, depth(lm))
    tokenizer = add_markers(tokenizer_for(lm, config.vocab_size))
    config.vocab_size = len(tokenizer)
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@functools.cache
def nearest(name: str, **options: Any) -> Task:
    """The real lines of a task, or those nearest to them, in full."""
    if name != "gsm8k-aug-nl":
        return load_task(NEAREST.get(name, name), **options)
    splits: dict[str, list[Problem]] = {"train": [], "test": []}
    for split, problems in splits.items():
        for place, record in read_records(Path(os.environ["LATENT_COT_DATA"]) / "gsm8k" / f"{split}.jsonl"):
            steps, answer = str(record["answer"]).split("####")
            sentences = re.sub("<<.*?>>", "", steps).strip().splitlines()
            problems.append(Problem(str(record["question"]), tuple(sentences), answer.strip(), place))
    return replace(load_task("gsm8k"), splits={split: tuple(problems) for split, problems in splits.items()})


def sampled_task(name: str, *, sizes: dict[str, int], lines: int = LINES, **options: Any) -> Task:
    """`load_task` with a sample of the real lines, and another split's lines for a split without."""
    found = nearest(name, **options)
    pools = {split: found.splits.get(split) or max(found.splits.values(), key=len) for split in sizes}
    learned = "train" if "train" in sizes else "test"  # lesson 05 may train on the problems behind the test problems
    counts = {split: min(lines if split == learned else 4, sizes[split], len(pools[split])) for split in sizes}
    return replace(found, splits={split: tuple(random.Random(0).sample(pools[split], n)) for split, n in counts.items()})


def models_of(run: Run) -> list[str]:
    """The published models that a run's parameters name, the one that answers first."""
    parameters = run.parameters
    return [parameters.get("model.lm", TINY), *(lm for lm in parameters.get("assistants", ()) if lm not in MADE_THERE)]


def stood_in(name: str, lm: str) -> str:
    """What a row's check stands on instead of its own data, tokenizer and depth; "" if on these."""
    have = nearest(name).splits
    said = [f"{NEAREST[name]}'s problems"] if name in NEAREST else [] if "train" in have else [f"{', '.join(have)} for train"]
    said += ["SmolLM2's tokenizer"] * ("gpt2" not in lm and lm not in OWN_TOKENIZER)
    return ", ".join(said + [f"{depth(lm)} layers"] * (lm != TINY and depth(lm) < SHAPES[lm].num_hidden_layers))


def two_steps(plan: Plan) -> str:
    """Train for two optimiser steps; returns the losses. Raises if a loss or a gradient is not finite or nothing moved."""
    stages = plan.method.curriculum
    short = (replace(stages[0], steps=1, warmup=0), replace(stages[-1], steps=1, warmup=0))
    options = replace(plan.options, batch_size=2, micro_batch=1, validations=0)
    decoder = plan.reasoner.step_decoder  # which is given the LM's embeddings and has a table of its own that nobody reads
    unread = {id(p) for p in decoder.body.get_input_embeddings().parameters()} if decoder else set()
    learns = {n: p for n, p in plan.reasoner.named_parameters() if p.requires_grad and id(p) not in unread}
    before = {n: p.detach().clone() for n, p in learns.items() if p.numel() < SMALL}
    problems = sorted(plan.problems, key=lambda problem: problem.n_tokens)[len(plan.problems) // 2 :][:4]
    history = train(plan.reasoner, replace(plan.method, curriculum=short), problems, options, progress_bar=False)
    still = [name for name, p in plan.reasoner.named_parameters() if name in before and torch.equal(before[name], p)]
    if still:
        raise AssertionError(f"did not move: {still[:5]}")
    return " ".join(f"{loss:.2f}" for loss in history.loss)


def check(run: Run, models: dict[str, str], built: dict[str, Reasoner]) -> tuple[Estimate, str, list]:
    """Rehearse a run and take two steps: its estimate, losses and lengths. `models` are folders, `built` the last reasoners."""

    def build(spec: ReasonerSpec, seed: int = 0) -> Reasoner:
        if (key := repr(spec)) not in built:
            while len(built) >= len(names):  # the oldest goes
                del built[next(iter(built))]
            gc.collect()
            built[key] = build_reasoner(replace(spec, lm=models.get(spec.lm, TINY)), seed)
            for parameter in built[key].parameters():
                if assisted or not parameter.requires_grad:  # frozen: half the memory
                    parameter.data = parameter.data.bfloat16()
        return built[key]

    names, assisted = models_of(run), "assistants" in run.parameters
    sampled = functools.partial(sampled_task, lines=FEW if assisted else LINES)
    plan = rehearse(run, sampled, build)
    losses, lengths = two_steps(plan), sample(plan.problems)
    blank = blank_plan(run, lengths)
    cost = estimate(blank)
    trained = sum(p.numel() for p in plan.reasoner.parameters() if p.requires_grad)
    if depth(names[0]) == Shape(blank.reasoner).layers and trained != cost.trained:
        raise AssertionError(f"trains {trained:,} parameters, not the {cost.trained:,} of the estimate")
    return cost, losses, lengths


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m latent_costs.check_paper", description=__doc__.partition("\n")[0])
    parser.add_argument("--tier", default="paper")
    parser.add_argument("--only", default="*", metavar="GLOB", help="runs by name, such as '*/gsm8k-*'")
    parser.add_argument("--record", action="store_true", help=f"keep the lengths in {LENGTHS.name}")
    options = parser.parse_args(argv)
    runs = [run for run in runs_of(options.tier) if fnmatch(run.id, options.only)]
    runs.sort(key=lambda run: ([TINY, *SHAPES].index(models_of(run)[0]), run.notebook))  # few models are built twice
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    started, built = time.monotonic(), dict[str, Reasoner]()
    failed, kept = list[str](), dict[str, dict[str, object]]()
    print(line([*COLUMNS, "loss, loss", "seconds", "stands on"]))
    with tempfile.TemporaryDirectory() as folder:
        models = {lm: str(Path(folder, lm)) for lm in dict.fromkeys(lm for run in runs for lm in models_of(run) if lm != TINY)}
        for lm in models:
            write_model(lm, Path(models[lm]))
        for run in runs:
            clock = time.monotonic()
            try:
                cost, losses, lengths = check(run, models, built)
            except Exception as error:
                failed.append(run.id)
                print(f"FAILED {run.id}: {type(error).__name__}: {error}", flush=True)
                continue
            stands_on = stood_in(run.parameters["task"], models_of(run)[0]) or "its own lines"
            kept[lengths_key(run)] = {"from": stands_on, "lengths": lengths}
            print(line([*row(run, cost), losses, f"{time.monotonic() - clock:.0f}", stands_on]), flush=True)
    print(f"{len(runs) - len(failed)} of {len(runs)} rows passed in {(time.monotonic() - started) / 60:.1f} minutes")
    if options.record:
        kept = json.loads(LENGTHS.read_text()) | kept if LENGTHS.is_file() else kept
        rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(kept[key])}" for key in sorted(kept))
        write_atomic(LENGTHS, f"{{\n{rows}\n}}\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
