"""How fast this machine trains and answers: `python -m latent_costs.bench [--json PATH]`, or `make bench`.

GPT-2's shape (124M parameters), random weights, no dropout; real GSM8k-Aug lines if LATENT_COT_DATA has them, else
random tokens in the same lengths. Of the length-grouped batches, those in the middle of equal slices (short to long) are
timed: they stand for the data. A training step is forward, backward, clipping and AdamW; answers have all their new
tokens, as a random model ends none. FLOPs are those PyTorch counts (on a CPU without attention itself, a few percent);
the peak is the best square matrix product of the same run.
"""

import argparse
import json
import os
import random
import statistics
import timeit
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel, GPT2TokenizerFast, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from latent_cot.curriculum import Budget
from latent_cot.evaluation import prompt
from latent_cot.generation import answer
from latent_cot.methods import Method, make
from latent_cot.models import Reasoner, ReasonerSpec, add_lora
from latent_cot.sequences import Batch, Encoded, Sequence, collate, encode, length_grouped
from latent_cot.tasks import load_task
from latent_cot.tokens import EOS, add_markers


@dataclass(frozen=True)
class Size:
    """The model's shape and how much is measured; the default is GPT-2."""

    d_model: int = 768
    n_layers: int = 12
    n_heads: int = 12
    vocabulary: int = 50_257  # of made-up words, where the real tokenizer is not at hand
    lora_rank: int = 128
    problems: int = 400
    batch_size: int = 8  # training
    batches: int = 2
    asked: int = 16  # answered at once
    new_tokens: tuple[int, int] = (8, 32)  # of an answer; of steps and answer
    repeats: int = 3
    matrix: int = 2048


def load_problems(size: Size) -> tuple[PreTrainedTokenizerBase, list[Encoded], str]:
    """GPT-2's tokenizer, a sample of GSM8k-Aug's training lines, and what they are; made up without LATENT_COT_DATA."""
    rng, folder = random.Random(0), Path(os.environ.get("LATENT_COT_DATA", "")) / "gpt2_tokenizer"
    if (folder / "encoder.json").exists():
        tokenizer = GPT2TokenizerFast(vocab=str(folder / "encoder.json"), merges=str(folder / "vocab.bpe"))
        add_markers(tokenizer)
        lines = rng.sample(load_task("gsm8k-aug").splits["train"], size.problems)
        return tokenizer, encode(lines, tokenizer), "GSM8k-Aug lines, GPT-2's tokenizer"
    words = {EOS: 0, **{f"w{i}": i for i in range(1, size.vocabulary)}}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel(words, EOS)), eos_token=EOS)
    add_markers(tokenizer)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(rng.randrange(1, size.vocabulary) for _ in range(n))

    def made_up(i: int) -> Encoded:  # as measured: question 32, 48, 79 tokens (10, 50, 90 %), 2.7 steps of 9, answer 6
        question = tokens(min(max(round(rng.lognormvariate(3.87, 0.36)), 11), 214))
        steps = tuple(tokens(9) for _ in range(rng.choices((1, 2, 3, 4, 5), (2, 4, 3, 2, 1))[0]))
        return Encoded(str(i), question, steps, (*tokens(5), tokenizer.eos_token_id), 3)

    return tokenizer, [made_up(i) for i in range(size.problems)], "random tokens in GSM8k-Aug's lengths"


def build(tokenizer: PreTrainedTokenizerBase, size: Size, writer: str, lora: bool = False) -> Reasoner:
    """A random model, computed as `models.build_reasoner` has it."""
    torch.manual_seed(0)
    spec = ReasonerSpec(lm="gpt2", writer=writer, lora_rank=size.lora_rank if lora else 0, lora_dropout=0.0)
    shape = {"n_embd": size.d_model, "n_layer": size.n_layers, "n_head": size.n_heads, "vocab_size": len(tokenizer)}
    others = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "activation_function": "gelu_pytorch_tanh"}
    lm = GPT2LMHeadModel(GPT2Config(**shape, **others))
    return Reasoner(add_lora(lm, spec) if lora else lm, tokenizer, spec)


def grouped(lengths: Seq[int], batch_size: int) -> list[list[int]]:
    """Length-grouped batches of indices, shortest first."""
    batches = length_grouped(lengths, batch_size, torch.Generator().manual_seed(0))
    return sorted(batches, key=lambda batch: sum(lengths[i] for i in batch) / len(batch))


def middles(items: Seq, n: int) -> list:
    """The items in the middle of n equal slices."""
    return [items[int((i + 0.5) * len(items) / n)] for i in range(n)]


def padding_share(batches: Seq[Batch]) -> float:
    blocks = [block for b in batches for block in (b.language, b.teacher) if block is not None]
    masks = [*(b.question_mask for b in batches), *(block.mask for block in blocks)]
    return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)


def matmul_peak(dtype: torch.dtype, n: int) -> float:
    a = torch.randn(n, n).to(dtype)
    return 2 * n**3 / min(timeit.repeat(lambda: a @ a, number=1, repeat=10))  # FLOP/s


def train(reasoner: Reasoner, method: Method, batches: Seq[Batch], optimizer: torch.optim.Optimizer, bf16: bool) -> None:
    for batch in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = sum(method.supervise(reasoner, batch).values())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reasoner.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def ask(reasoner: Reasoner, prompts: Seq[Sequence], new_tokens: int, at_once: int, bf16: bool) -> None:
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        answer(reasoner, prompts, new_tokens, at_once)


def bench(size: Size, show: Callable[[dict], None] = lambda row: None) -> dict:
    """Measure every row, show it as it comes, return them all with what they stand on."""
    tokenizer, problems, data = load_problems(size)
    peaks = {"fp32": matmul_peak(torch.float32, size.matrix), "bf16": matmul_peak(torch.bfloat16, size.matrix)}
    result = {"data": data, "threads": torch.get_num_threads(), "padding": {}, "rows": [],
              "peak_gflop_per_second": {precision: peak / 1e9 for precision, peak in peaks.items()}}  # fmt: skip

    def add(what: str, n_examples: int, run: Callable[[bool], object]) -> None:
        for precision, peak in peaks.items():
            timed = partial(run, precision == "bf16")
            with FlopCounterMode(display=False) as counter:
                timed()  # warms up
            median = statistics.median(timeit.repeat(timed, number=1, repeat=size.repeats))
            speed = counter.get_total_flops() / median
            row = {"what": what, "precision": precision, "examples_per_second": n_examples / median}
            result["rows"].append(row | {"gflop_per_second": speed / 1e9, "share_of_peak": speed / peak})
            show(result["rows"][-1])

    coconut_method = make("coconut", {"latents_per_step": 2, "final_stage": True}, Budget(1, 1))
    codi_method = make("codi", {"keep_last_step": False}, Budget(1))
    answerer = build(tokenizer, size, "hidden")
    at_once = grouped([len(p.question) for p in problems], size.asked)
    asked = [problems[i] for batch in middles(at_once, 2) for i in batch]
    for what, n_thoughts, new_tokens in (("6 thoughts, answer", 6, size.new_tokens[0]), ("steps", 0, size.new_tokens[1])):
        prompts = [prompt(p, answerer.markers, n_thoughts, marked=n_thoughts > 0) for p in asked]
        run = partial(ask, answerer, prompts, new_tokens, size.asked)
        add(f"Generation: {what} ({new_tokens} tokens)", len(asked), run)

    for what, method, lora in (
        ("Coconut training, last stage", coconut_method, False),
        (f"CODI training, LoRA r={size.lora_rank}", codi_method, True),
        ("CODI training, all weights", codi_method, False),
    ):
        reasoner = build(tokenizer, size, method.writer, lora)
        rng, markers = random.Random(0), reasoner.markers
        arranged = [method.curriculum[-1].arrange(problem, markers, rng) for problem in problems]
        batches = {"random": torch.arange(len(problems)).split(size.batch_size),
                   "grouped": grouped([problem.n_tokens for problem in problems], size.batch_size)}  # fmt: skip
        made = {how: [collate([arranged[i] for i in rows], markers) for rows in batches[how]] for how in batches}
        result["padding"][method.name] = {how: padding_share(made[how]) for how in made}
        timed = middles(made["grouped"], size.batches)
        optimizer = torch.optim.AdamW([p for p in reasoner.parameters() if p.requires_grad], lr=1e-4, fused=True)
        add(what, sum(len(batch.ids) for batch in timed), partial(train, reasoner, method, timed, optimizer))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the speed of training and generation at GPT-2's size.")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results there, too")
    path = parser.parse_args().json
    line = "{what:42}{precision:6}{examples_per_second:12.2f}{gflop_per_second:10.0f}{share_of_peak:9.0%}"
    print(f"{'':48}{'examples/s':>12}{'GFLOP/s':>10}{'of peak':>9}")
    result = bench(Size(), lambda row: print(line.format(**row), flush=True))
    for precision, peak in result["peak_gflop_per_second"].items():
        print(f"{'Matrix product (the peak)':42}{precision:6}{'':12}{peak:10.0f}")
    for method, share in result["padding"].items():
        print(f"Padding, {method}: {share['grouped']:.1%} in length-grouped batches, {share['random']:.1%} in random ones")
    print(f"{result['data']}; {result['threads']} threads")
    if path:
        path.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
