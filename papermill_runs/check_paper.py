"""Every row of the paper tier, tried without a GPU: `make check-paper`, or

    python -m papermill_runs.check_paper [--tier TIER] [--only GLOB] [--record]

A row's notebook is rehearsed: it reads real lines, builds its model at the real shape with random weights, its method and
its options. Then it takes two optimiser steps (the first and the last stage, of two problems each) on this machine. Beside it
stands what the row will cost on a GPU (`estimate`), on the lengths of the lines just read.

What is not at hand is stood in for, and said: a split without lines takes another split's, GSM8k-Aug-NL takes GSM8K's own
sentences, LLaMA and Qwen take SmolLM2's tokenizer, a model that is too large for this machine loses layers.
`--record` keeps the lengths for `estimate`.
"""

from __future__ import annotations

import argparse
import copy
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
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2TokenizerFast, PreTrainedTokenizerFast

from latent_cot.models import Reasoner, ReasonerSpec, build_reasoner, smollm2_folder
from latent_cot.tasks import Problem, Task, load_task
from latent_cot.tasks.files import read_records
from latent_cot.training import train
from papermill_runs.estimate import COLUMNS, LENGTHS, SHAPES, blank_plan, estimate, line, lengths_key, row, sample
from papermill_runs.grid import grid_path, read_grid
from papermill_runs.records import write_atomic
from papermill_runs.rehearsal import Plan, rehearse

LINES = 300  # training lines that a row reads
LARGEST = 2e9  # parameters that are kept; a larger model is cut to this many layers:
LAYERS_KEPT = 2


def tokenizer_for(lm: str, vocabulary: int) -> PreTrainedTokenizerFast:
    """GPT-2's own tokenizer; for others SmolLM2's with unused words up to the size of the vocabulary."""
    if "gpt2" in lm:
        folder = Path(os.environ["LATENT_COT_DATA"]) / "gpt2_tokenizer"
        return GPT2TokenizerFast(vocab=str(folder / "encoder.json"), merges=str(folder / "vocab.bpe"))
    tokenizer = AutoTokenizer.from_pretrained(smollm2_folder())
    parts = json.loads(tokenizer.backend_tokenizer.to_str())
    words = parts["model"]["vocab"]
    words |= {f"<unused{i}>": i for i in range(len(tokenizer), vocabulary)}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(json.dumps(parts)), eos_token=tokenizer.eos_token)


def write_model(lm: str, folder: Path) -> None:
    """A model folder of a published shape: random weights in bf16, and a tokenizer."""
    config = copy.deepcopy(SHAPES[lm])
    with torch.device("meta"):
        size = AutoModelForCausalLM.from_config(config).num_parameters()
    if size > LARGEST:
        config.num_hidden_layers = LAYERS_KEPT
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer_for(lm, config.vocab_size).save_pretrained(folder)


@functools.cache
def lines(name: str) -> dict[str, tuple[Problem, ...]]:
    """The real lines nearest to a task, by split."""
    if name != "gsm8k-aug-nl":
        return load_task(name).splits
    splits = {}
    for split in ("train", "test"):
        records = read_records(Path(os.environ["LATENT_COT_DATA"]) / "gsm8k" / f"{split}.jsonl")
        parts = ((record["question"], *record["answer"].split("####"), place) for place, record in records)
        sentences = ((q, re.sub("<<.*?>>", "", steps).strip().splitlines(), a.strip(), place) for q, steps, a, place in parts)
        splits[split] = tuple(Problem(q, tuple(steps), a, place) for q, steps, a, place in sentences)
    return splits


def sampled_task(name: str, *, sizes: dict[str, int], **options: Any) -> Task:
    """`load_task` with a sample of the real lines, and another split's lines for a split without."""
    found, task = lines(name), load_task(name, sizes={}, **options) if name != "gsm8k-aug-nl" else Task(name, {}, bool)
    wanted = {"train": LINES, "valid": 4, "test": 4}
    pools = {split: found.get(split) or max(found.values(), key=len) for split in wanted}
    return replace(task, splits={s: tuple(random.Random(0).sample(pools[s], min(n, len(pools[s])))) for s, n in wanted.items()})


def two_steps(plan: Plan) -> str:
    """Train for two optimiser steps; returns the losses. Raises if a loss or a gradient is not finite or nothing moved."""
    stages = plan.method.curriculum
    short = (replace(stages[0], steps=1, warmup=0), replace(stages[-1], steps=1, warmup=0))
    options = replace(plan.options, batch_size=2, micro_batch=1, validations=0)
    before = {n: p.detach().clone() for n, p in plan.reasoner.named_parameters() if p.requires_grad and p.numel() < 1e5}
    problems = sorted(plan.problems, key=lambda problem: problem.n_tokens)[len(plan.problems) // 2 :][:4]
    history = train(plan.reasoner, replace(plan.method, curriculum=short), problems, options, progress_bar=False)
    still = [name for name, p in plan.reasoner.named_parameters() if name in before and torch.equal(before[name], p)]
    if still:
        raise AssertionError(f"did not move: {still[:5]}")
    return " ".join(f"{loss:.2f}" for loss in history.loss)
