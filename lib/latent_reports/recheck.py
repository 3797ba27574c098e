"""The released weights, evaluated: the cheapest reproduction there is. `make released`, or

    python -m latent_reports.recheck [gpt2|llama …] [--folder FOLDER] [--out FOLDER] [--first N] [--controls N] [--samples N]

CODI's released models answer GSM8K, SVAMP, GSM-Hard and MultiArith, greedily as the official scripts do; with `--samples 10`
as the paper says, at temperature .1, top-k 40, top-p .95, the mean of so many runs. On the first problems of each set
(`--controls`) thoughts are removed and swapped, another problem's are given for the donor rate, and questions are timed one by
one. On GSM8K the thoughts are read for the intermediate results of the problems answered correctly. Everything stands beside
what the paper prints and what others got.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import sqrt
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import transformers

from latent_cot.evaluation import evaluate, measure
from latent_cot.generation import Sampling
from latent_cot.models import Reasoner
from latent_cot.released import LAYOUT, MAX_NEW_TOKENS, N_THOUGHTS, RELEASED, load_released
from latent_probes.decodings import by_results, decode_all
from latent_probes.donors import donate, donor_rate
from latent_reports.papers import paper_value
from latent_runs.records import utc_now, write_atomic
from latent_runs.timing import interleaved
from latent_tasks import Task, load_task

SETS = {"gsm8k": "GSM8k", "svamp": "SVAMP", "gsm-hard": "GSM-Hard", "multiarith": "MultiArith"}  # ours: the paper's name
OTHERS = ("GSM8k, lowest of others' runs", "GSM8k, highest of others' runs")
COLUMNS = ["set", "problems", "accuracy %", "paper %", "others %", "removed %", "swapped %", "donor rate %", "tokens", "ms"]
RESULTS = ["intermediate results", "problems", "all found %", "in order %", "in another's %", "paper %"]


def official_question(task: Task, n: int) -> Task:
    """The first n test problems (0: all), their questions as the official test.py reads them: trimmed, no double spaces."""
    problems = task.splits["test"][: n or None]
    return replace(task, splits={"test": tuple(replace(p, question=p.question.strip().replace("  ", " ")) for p in problems)})


def check_set(reasoner: Reasoner, task: Task, n_controls: int, n_samples: int) -> dict[str, Any]:
    """What is known of a model on a set of problems: accuracy (of several runs: each one's), tokens and seconds; on the first
    `n_controls` problems (0: all) the controls, the donor rate and seconds alone; the count of intermediate results, where
    steps have some."""
    problems = task.splits["test"]
    how: dict[str, Any] = {"marked": True, "layout": LAYOUT, "max_new_tokens": MAX_NEW_TOKENS}
    sampled = [Sampling(0.1, 40, 0.95, seed) for seed in range(n_samples)] or [Sampling()]
    runs = [evaluate(reasoner, task, problems, N_THOUGHTS, sampling=sampling, **how) for sampling in sampled]
    few = problems[: n_controls or None]
    metrics, _ = measure(reasoner, task, few, N_THOUGHTS, **how)
    donations = donate(reasoner, few, N_THOUGHTS, **how)
    alone = {"alone": lambda i: evaluate(reasoner, task, few[i : i + 1], N_THOUGHTS, **how)}
    found = {"controls": metrics["controls"], "controls_n": len(few), "seconds": interleaved(alone, min(20, len(few)))["alone"]}
    found |= {"n": len(problems), "accuracy": fmean(run.accuracy for run in runs), "runs": [run.metrics for run in runs]}
    found |= {"new_tokens": runs[0].metrics["new_tokens"], "donor": donor_rate(task, donations)}
    return found | {"decoded": by_results(decode_all(reasoner, runs[0]), grade=task.grade)}


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def rows(checked: Mapping[str, Mapping[str, Any]], model: str) -> list[list[str]]:
    """A row of `COLUMNS` for each set; the interval is a binomial 95 % one over the problems."""
    made = []
    for name, found in checked.items():
        half = 1.96 * sqrt(found["accuracy"] * (1 - found["accuracy"]) / found["n"])
        others = [quoted.number.value for of in OTHERS if (quoted := paper_value("codi", of, model))] if name == "gsm8k" else []
        controls, donor = found["controls"], found["donor"]
        made.append([
            SETS[name], f"{found['n']:,}", f"{percent(found['accuracy'])} ± {100 * half:.1f}",
            str(paper_value("codi", SETS[name], model, "CODI") or "–"), " to ".join(f"{value:g}" for value in others) or "–",
            percent(controls["removed"]), percent(controls["swapped"]), percent(donor and donor["rate"]),
            f"{found['new_tokens']:.1f}", f"{1000 * found['seconds']['median']:.0f}",
        ])  # fmt: skip
    return made


def result_rows(decoded: Sequence[Mapping[str, Any]], model: str) -> list[list[str]]:
    """A row of `RESULTS` for each number of intermediate results that the paper has."""
    made = []
    for row in decoded:
        name = f"{row['results']} intermediate result{'s' * (row['results'] > 1)}"
        shares = [percent(row[key]) for key in ("found", "found in order", "found in another's")]
        made.append([str(row["results"]), str(row["n"]), *shares, str(paper_value("codi", name, model) or "–")])
    return made


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def page(name: str, checked: Mapping[str, Mapping[str, Any]], n_samples: int) -> str:
    """What was found of a released model, in Markdown."""
    found, device = RELEASED[name], "a GPU" if torch.cuda.is_available() else "a CPU"
    way = f"sampled at temperature .1, mean of {n_samples}" if n_samples else "greedily, as the official scripts do"
    few = ", ".join(f"{SETS[key]} {of['controls_n']}" for key, of in checked.items())
    note = f"Answered {way}, on {device}. Controls, donor rate and ms (a question at a time) on the first problems: {few}. "
    note += "± is 1.96 standard errors over the problems. MultiArith has all 600 problems here; the official code asks 180."
    parts = [f"## {found.hub}", table(COLUMNS, rows(checked, found.model)), note]
    decoded = checked.get("gsm8k", {}).get("decoded")
    if decoded:
        told = "Of the problems of GSM8K answered correctly, those whose intermediate results are all among a state's top five:"
        parts += [told, table(RESULTS, result_rows(decoded, found.model))]
    return "\n\n".join(parts)


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m latent_reports.recheck", description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{' or '.join(RELEASED)} (default: gpt2)")
    parser.add_argument("--folder", type=Path, help="holds CODI-gpt2/, gpt2/ …, where the hub is not to be asked")
    parser.add_argument("--out", type=Path, default=Path("released"), help="where released.md and released.json go")
    parser.add_argument("--first", type=int, default=0, metavar="N", help="only the first problems of each set")
    parser.add_argument("--controls", type=int, default=200, metavar="N", help="problems for controls and donor rate; 0: all")
    parser.add_argument("--samples", type=int, default=0, metavar="N", help="runs sampled at temperature .1; 0: one, greedy")
    options = parser.parse_args(argv)
    names = options.names or ["gpt2"]
    if unknown := set(names) - set(RELEASED):
        parser.error(f"no released model {', '.join(sorted(unknown))}; known: {', '.join(RELEASED)}")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    pages, kept = list[str](), dict[str, Any]()
    try:
        for name in names:
            reasoner = load_released(name, options.folder)
            reasoner.to("cuda" if torch.cuda.is_available() else "cpu")
            checked = {}
            for key in SETS:
                print(f"{RELEASED[name].hub}: {key} …", file=sys.stderr, flush=True)
                task = official_question(load_task(key), options.first)
                checked[key] = check_set(reasoner, task, options.controls, options.samples) | {"data": task.fingerprint}
            kept[name] = {"hub": RELEASED[name].hub, "made": utc_now(), "sets": checked}
            pages.append(page(name, checked, options.samples))
            print(f"{pages[-1]}\n", flush=True)
        write_atomic(options.out / "released.md", "\n\n".join(pages) + "\n")
        write_atomic(options.out / "released.json", json.dumps(kept, indent=1))
    except (OSError, ValueError) as error:
        print(f"released: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
