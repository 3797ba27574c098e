"""How fast this machine trains and answers at GPT-2's size: `make bench`, with `PEERS=folder` beside the official code.

    python -m latent_costs.bench [--peers FOLDER] [--only-peers] [--json PATH] [--readme README.md]

Random weights, no dropout, and random tokens in the recorded lengths of GSM8k-Aug's lines (`lengths.json`), so that every
machine does the same. Trained is one pass over them, answered are all of them, with all their new tokens, as a random model
ends none. First their FLOPs are counted by PyTorch (on a CPU without attention itself, a few percent), then they are timed,
several times, and the median is kept. The peak is the best square matrix product of the same run; one question at a time reads
all weights for every position, so there the share of the memory's bandwidth stands beside it, which is that of a long sum.
"""

import argparse
import json
import random
import statistics
import time
import timeit
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from latent_backbones.parts import body
from latent_backbones.tokens import tiny_tokenizer
from latent_costs.estimate import LENGTHS, encoded_lengths, lengths_key, training_runs
from latent_costs.flops import cut
from latent_costs.peers import PEERS
from latent_costs.speed import page
from latent_cot.curriculum import Budget
from latent_cot.evaluation import prompt
from latent_cot.generation import answer
from latent_cot.methods import Method, make
from latent_cot.models import Reasoner, ReasonerSpec, add_lora
from latent_cot.sequences import Encoded, Sequence
from latent_cot.training import TrainOptions, train
from latent_runs.records import hardware
from latent_runs.timing import interleaved

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
LORA_RANK = 128
LENGTHS_OF = "gpt2_aug-codi"  # a row of the paper tier: it is measured in the lengths of its lines
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Size:
    """The model's shape and how much is measured; the default is GPT-2."""

    d_model: int = 768
    n_layers: int = 12
    n_heads: int = 12
    vocabulary: int = 50_257
    new_tokens: tuple[int, int] = (8, 32)  # of an answer; of steps and answer
    matrix: int = 2048
    batch: int = 8  # trained on at once
    asked: tuple[int, ...] = (8, 1)  # answered at once
    n_problems: int = 16
    repeats: int = 3
    every_stage: bool = False  # plain CoT and all of Coconut's stages, too


GPU = Size(matrix=8192, batch=128, asked=(64, 1), n_problems=512, repeats=2, every_stage=True)


def build(tokenizer: PreTrainedTokenizerBase, size: Size, writer: str, lora: bool = False) -> Reasoner:
    """A random model, computed as `models.build_reasoner` has it."""
    torch.manual_seed(0)
    spec = ReasonerSpec(lm="gpt2", writer=writer, lora_rank=LORA_RANK if lora else 0, lora_dropout=0.0)
    config = cut("openai-community/gpt2", size.n_layers)
    config.update({"n_embd": size.d_model, "n_head": size.n_heads, "vocab_size": len(tokenizer)})
    config.update({"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0})
    lm = AutoModelForCausalLM.from_config(config)
    return Reasoner(add_lora(lm, spec) if lora else lm, tokenizer, spec).to(DEVICE)


def matmul_peak(dtype: torch.dtype, n: int) -> float:
    """FLOP/s."""
    a = torch.randn(n, n, device=DEVICE).to(dtype)
    return 2 * n**3 / min(timeit.repeat(lambda: (a @ a)[0, 0].item(), number=1, repeat=10))


def bandwidth(n: int) -> float:
    """Bytes/s."""
    numbers = torch.ones(n, device=DEVICE)
    return numbers.nbytes / min(timeit.repeat(lambda: numbers.sum().item(), number=1, repeat=10))


def weights_read(reasoner: Reasoner, n_thoughts: int, new_tokens: int) -> int:
    """Bytes of weights that one answer reads: all for the question, for each thought but the last, for that and the marker, and
    for every new token but the last; the head for every new token."""
    head = reasoner.lm.get_output_embeddings().weight
    inside = sum(p.nbytes for p in body(reasoner.lm).parameters() if p.dim() > 1 and p is not head)
    return inside * (1 + n_thoughts + new_tokens - 1) + head.nbytes * new_tokens


def training(reasoner: Reasoner, method: Method, problems: list[Encoded], batch: int, precision: str) -> float:
    """Seconds of one pass over the problems."""
    options = TrainOptions(batch_size=batch, precision="bf16" if precision == "bf16" else "no", validations=0)
    return (batch / train(reasoner, method, problems, options, progress_bar=False).problems_per_second).sum()


def asking(reasoner: Reasoner, prompts: list[Sequence], new_tokens: int, batch: int, precision: str) -> float:
    """Seconds of an answer to each prompt."""
    started = time.perf_counter()
    with torch.autocast(DEVICE, torch.bfloat16, enabled=precision == "bf16"):
        answer(reasoner, prompts, new_tokens, batch)
    return time.perf_counter() - started


def recipes(size: Size) -> list[tuple[str, Method, bool]]:
    """What is trained: its name, the method with a single stage, and whether only LoRA is."""
    steps = size.n_problems // size.batch
    budget = Budget(steps, steps, lr=1e-4)
    coconut, codi = make("coconut", {"latents_per_step": 2}, budget), make("codi", {}, budget)
    found = [("CoT training", make("cot", {}, budget), False)] if size.every_stage else []
    for stage in coconut.curriculum if size.every_stage else coconut.curriculum[-1:]:
        found.append((f"Coconut training, {stage.name}", replace(coconut, curriculum=(stage,)), False))
    return [*found, (f"CODI training, LoRA r={LORA_RANK}", codi, True), ("CODI training, all weights", codi, False)]


def bench(size: Size, show: Callable[[dict], None] = lambda row: None) -> dict:
    """Measure every row, show it as it comes, return them all with what they stand on."""
    tokenizer, rng = tiny_tokenizer(tuple(f"w{i}" for i in range(size.vocabulary))), random.Random(0)
    row = next(run for run in training_runs("paper") if run.variant == LENGTHS_OF)
    lengths = json.loads(LENGTHS.read_text())[lengths_key(row)]["lengths"]
    lengths = [lengths[i * len(lengths) // size.n_problems] for i in range(size.n_problems)]  # from the shortest to the longest
    problems = encoded_lengths(lengths, token=lambda: rng.randrange(6, len(tokenizer)))  # none of the special ones
    peaks = {name: matmul_peak(dtype, size.matrix) for name, dtype in PRECISIONS.items()}
    memory, rows = bandwidth(16 * size.matrix**2), list[dict]()

    def add(what: str, run: Callable[..., float], n: int, tokens: int, read: int = 0) -> None:
        for precision, peak in peaks.items():
            with FlopCounterMode(display=False) as counter:
                run(precision=precision)  # warms up
            seconds = statistics.median(run(precision=precision) for _ in range(size.repeats))
            speed = counter.get_total_flops() / seconds
            row: dict = {"what": what, "precision": precision, "examples_per_second": n / seconds}
            row |= {"tokens_per_second": tokens / seconds, "gflop_per_second": speed / 1e9, "share_of_peak": speed / peak}
            if read:  # autocast keeps weights in 16 bits
                row["share_of_bandwidth"] = read / (1 if precision == "fp32" else 2) * n / seconds / memory
            rows.append(row)
            show(row)

    answerer = build(tokenizer, size, "hidden")
    for at_once in size.asked:
        some = problems[:: 1 if at_once > 1 else max(1, len(problems) // 16)]  # one at a time takes long
        for what, n_thoughts, new_tokens in (("6 thoughts, answer", 6, size.new_tokens[0]), ("steps", 0, size.new_tokens[1])):
            prompts = [prompt(p, answerer.markers, n_thoughts, marked=n_thoughts > 0) for p in some]
            run = partial(asking, answerer, prompts, new_tokens, at_once)
            what = f"Generation, {at_once} at once: {what} ({new_tokens} tokens)"
            read = weights_read(answerer, n_thoughts, new_tokens) if at_once == 1 else 0
            add(what, run, len(some), len(some) * (n_thoughts + new_tokens), read)
    for what, method, lora in recipes(size):
        arranged = [method.curriculum[0].arrange(p, answerer.markers, rng) for p in problems]
        tokens = sum(len(one.question) + one.n_thoughts + len(one.language) + len(one.teacher) for one in arranged)
        reasoner = build(tokenizer, size, method.writer, lora)
        add(what, partial(training, reasoner, method, problems, size.batch), len(problems), tokens)
    speeds = {precision: peak / 1e9 for precision, peak in peaks.items()}
    found = {"device": DEVICE, "threads": torch.get_num_threads(), "rows": rows, "peak_gflop_per_second": speeds}
    return found | {"gbyte_per_second": memory / 1e9, "scaling": scaling(answerer, problems, size)}


def scaling(reasoner: Reasoner, problems: list[Encoded], size: Size) -> list[dict]:
    """Seconds a question in fp32, where one thing grows: thoughts, the question's length, the batch. Those that are compared
    take turns."""
    typical, at_once = problems[len(problems) // 2], size.asked[0]

    def ask(n_thoughts: int, times: int, batch: int) -> Callable[[int], object]:
        one = prompt(replace(typical, question=typical.question * times), reasoner.markers, n_thoughts)
        some = [replace(one, id=str(i)) for i in range(batch)]
        return lambda _: asking(reasoner, some, size.new_tokens[0], batch, "fp32")

    ways = {"thoughts": {n: ask(n, 1, at_once) for n in (0, 3, 6, 12)}}
    ways |= {"question, times": {n: ask(6, n, at_once) for n in (1, 2, 4)}, "batch": {n: ask(6, 1, n) for n in (1, 8, 64)}}
    rows = []
    for grows, kinds in ways.items():
        taken = interleaved({str(n): way for n, way in kinds.items()}, 1, size.repeats)
        for n in kinds:
            share = n if grows == "batch" else at_once
            rows.append({"grows": grows, "to": n, "seconds": taken[str(n)]["median"] / share})
    return rows


def beside(folder: Path, size: Size, show: Callable[[dict], None] = lambda row: None) -> list[dict]:
    """Examples a second, theirs and ours, of what the official checkouts in a folder can do; the ratio is of medians of times
    that were taken in turns. Raises FileNotFoundError for a folder that has none."""
    tokenizer = tiny_tokenizer(tuple(f"w{i}" for i in range(size.vocabulary)))
    names, rows = [name for name in PEERS if (folder / name).is_dir()], list[dict]()
    if not names:
        raise FileNotFoundError(f"{folder} has no checkout called {' or '.join(PEERS)}")
    for name in names:
        for precision in PRECISIONS:
            pairs = PEERS[name](folder / name, partial(build, tokenizer, size), size.batch, precision)
            for what, theirs, ours, n_theirs, n_ours in pairs:
                taken = interleaved({"theirs": theirs, "ours": ours}, 1, size.repeats)
                theirs_a_second, ours_a_second = n_theirs / taken["theirs"]["median"], n_ours / taken["ours"]["median"]
                rows.append({"what": what, "precision": precision, "theirs": theirs_a_second, "ours": ours_a_second})
                rows[-1] |= {"ratio": ours_a_second / theirs_a_second, "seconds": taken}
                show(rows[-1])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the speed of training and generation at GPT-2's size.")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the results there, too")
    parser.add_argument("--peers", type=Path, metavar="FOLDER", help="checkouts of the official code, to be timed beside ours")
    parser.add_argument("--only-peers", action="store_true", help="nothing else")
    parser.add_argument("--readme", type=Path, metavar="PATH", help="write the section there, and the figure that it shows")
    options = parser.parse_args()
    size = GPU if DEVICE == "cuda" else Size()
    result: dict = {"device": DEVICE, "threads": torch.get_num_threads(), "machine": hardware()}
    if options.peers:
        line = "{what:50}{precision:6}{ours:12.2f}{theirs:12.2f}{ratio:9.2f}"
        print(f"{'':56}{'ours/s':>12}{'theirs/s':>12}{'ratio':>9}")
        try:
            result["peers"] = beside(options.peers, size, lambda row: print(line.format(**row), flush=True))
        except FileNotFoundError as error:
            raise SystemExit(str(error)) from None
    if not options.only_peers:
        line = "{what:50}{precision:6}{examples_per_second:12.2f}{tokens_per_second:12,.0f}"
        line += "{gflop_per_second:10.0f}{share_of_peak:9.0%}"
        print(f"{'':56}{'examples/s':>12}{'tokens/s':>12}{'GFLOP/s':>10}{'of peak':>9}")
        result |= bench(size, lambda row: print(line.format(**row), flush=True))
        for precision, peak in result["peak_gflop_per_second"].items():
            print(f"{'Matrix product (the peak)':50}{precision:6}{'':24}{peak:10.0f}")
        for row in result["scaling"]:
            print(f"{row['grows']:>20} {row['to']:3}: {1000 * row['seconds']:8.1f} ms a question")
    print(f"{result['device']}, {result['threads']} threads")
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")
    if options.readme:
        page(result, options.readme)


if __name__ == "__main__":
    main()
