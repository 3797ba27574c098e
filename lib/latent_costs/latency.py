"""Seconds a question of every trained model of a tier, in one process: `make latency`, `python -m latent_costs.latency TIER`.

Models of the same task and backbone take turns (`latent_runs.timing`), so a difference between two rows of a table is one of
the models, not of two runs on a machine that was busy with other things. Asked one question at a time, the papers' way, and
many at once; a time is a question's. It lies in `latency.json` beside the runs, with each model's fingerprint: of a model
that was trained again since, the report shows no time.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latent_runs.places import RUNS
from latent_runs.records import git_state, hardware, utc_now, write_atomic
from latent_runs.results import LATENCY, MODEL, is_trusted, run_id

if TYPE_CHECKING:
    from latent_runs.trained import Trained

ALONE, AT_ONCE = 20, 64  # questions asked by themselves; asked at once


def measure(folder: Path, alone: int = ALONE, at_once: int = AT_ONCE, repeats: int = 3) -> dict[str, Any]:
    """By run, `alone` and `batched` (`timing.Seconds`), of every trusted record below a folder with its model beside it. Of a
    notebook that names no method and task, or a method that is not registered, nobody here knows how to ask its model: that
    is said, and the others are timed."""
    found = [(path.parent, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(folder.rglob("result.json"))]
    found = [(place, record) for place, record in found if is_trusted(record) and (place / MODEL).is_file()]
    found = [(place, record) for place, record in found if {"method", "task"} <= record["parameters"].keys()]
    runs: dict[str, dict[str, Any]] = {}
    if found:
        from latent_runs.trained import load_trained  # here: where no model is, nothing takes seconds

    for _, group in groupby(sorted(found, key=lambda one: _kind(one[1])), lambda one: _kind(one[1])):
        named = {run_id(*(record[key] for key in ("notebook", "variant", "seed"))): (place, record) for place, record in group}
        models = {}
        for name, (place, record) in named.items():
            try:
                models[name] = load_trained(place, record, max(alone, at_once))
            except (ValueError, KeyError, TypeError, OSError) as error:
                print(f"not timed: {name}: {error}", file=sys.stderr)
        for name, seconds in _seconds(models, alone, at_once, repeats).items():
            runs[name] = seconds | {"model_fingerprint": named[name][1]["model_fingerprint"]}
    where = {"device": hardware(), "git": git_state(), "measured": utc_now(), "questions": alone, "at_once": at_once}
    return where | {"repeats": repeats, "runs": runs}


def _kind(record: dict[str, Any]) -> tuple[str, str]:
    """What is compared with each other: models on one backbone, of one task."""
    return record["parameters"]["task"], record["parameters"].get("model", {}).get("lm", "tiny")


def _seconds(models: dict[str, Trained], alone: int, at_once: int, repeats: int) -> dict[str, dict[str, Any]]:
    import torch

    from latent_cot.generation import answer_batch
    from latent_runs.timing import interleaved

    singly, together = {}, {}
    for name, one in models.items():
        reasoner, prompts, room = one.reasoner.eval(), one.prompts, one.data.max_new_tokens
        if torch.cuda.is_available():
            reasoner.to("cuda")
        singly[name] = lambda i, r=reasoner, asked=prompts, n=room: answer_batch(r, asked[i : i + 1], n)
        together[name] = lambda _, r=reasoner, asked=prompts[:at_once], n=room: answer_batch(r, asked, n)
    by_itself = interleaved(singly, alone, repeats)
    by_batch = interleaved(together, 1, 3 * repeats, share=at_once)  # few calls, so more of each
    return {name: {"alone": by_itself[name], "batched": by_batch[name]} for name in models}


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Seconds a question of every trained model of a tier, in one process.")
    parser.add_argument("tier", help="a folder below papermill_runs/")
    parser.add_argument("--alone", type=int, default=ALONE, help="questions asked one at a time")
    parser.add_argument("--at-once", type=int, default=AT_ONCE, help="questions asked at once")
    options = parser.parse_args(argv)
    folder = RUNS / options.tier
    measured = measure(folder, options.alone, options.at_once)
    write_atomic(folder / LATENCY, json.dumps(measured, indent=1) + "\n")
    print(f"{len(measured['runs'])} models timed: {folder / LATENCY}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
