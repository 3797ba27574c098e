"""Which part of a problem the thoughts carry, of all trained models of a tier on arithmetic or graphs: `make carried`, or

    python -m latent_reports.carried TIER

On arithmetic, of pairs of a problem and a donor the first half chooses the hybrid (`latent_probes.hybrids`) that is answered
most often, and the second half says how often: on the same pairs the best of thirty-one would be the luckiest of thirty-one.
On graphs there is one question, whether it is the node that was reached (`latent_probes.waypoints`). What was found lies in
`carried.json` beside a record, with the fingerprint of its model.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from latent_probes.donors import Donation, donate
from latent_probes.hybrids import hybrid_rates, in_words
from latent_probes.waypoints import waypoint_rate
from latent_runs.lesson import layout_of
from latent_runs.places import RUNS
from latent_runs.records import git_state, utc_now, write_atomic
from latent_runs.results import CARRIED, MODEL, is_trusted
from latent_runs.trained import load_trained, method_of
from latent_tasks import Task

N_PROBLEMS = 1000  # of the test split


def most_carried(task: Task, donations: Sequence[Donation]) -> dict[str, Any] | None:
    """The hybrid that one half of the pairs chooses, by letters (`whose`) and in words (`carried`), and its rate on the other
    half; None where these cannot tell it."""
    half = len(donations) // 2
    chosen, measured = (hybrid_rates(task, some) for some in (donations[:half], donations[half:]))
    best = max(chosen, key=lambda whose: chosen[whose]["rate"], default=None)
    return {"whose": best, "carried": in_words(best), **measured[best]} if best is not None and best in measured else None


def place_reached(task: Task, donations: Sequence[Donation]) -> dict[str, Any] | None:
    """How often the answer goes on from the node that the donor's thoughts have come to; None where no pair can tell."""
    found = waypoint_rate(task, donations)
    return {"carried": "the node that was reached"} | found if found else None


PARTS = {"arithmetic": most_carried, "graph": place_reached}  # by task


def measure(folder: Path, n_problems: int = N_PROBLEMS) -> list[Path]:
    """What was written: `carried.json` beside each trusted record below a folder whose task is one of `PARTS`, which has
    thoughts and its model beside it. One that knows its model already is left."""
    written = []
    for path in sorted(folder.rglob("result.json")):
        record, place = json.loads(path.read_text(encoding="utf-8")), path.with_name(CARRIED)
        read = PARTS.get(record["parameters"].get("task")) if "method" in record["parameters"] else None
        if not (read and is_trusted(record) and path.with_name(MODEL).is_file() and method_of(record).n_thoughts):
            continue
        known = {"model_fingerprint": record["model_fingerprint"]}
        if place.is_file() and known.items() <= json.loads(place.read_text(encoding="utf-8")).items():
            continue
        one = load_trained(path.parent, record, n_problems)
        how: dict[str, Any] = {"layout": layout_of(one.data), "max_new_tokens": one.data.max_new_tokens}
        problems, marked = one.task.splits["test"], one.method.thinks_between_markers
        found = read(one.task, donate(one.reasoner, problems, one.method.n_thoughts, marked, **how))
        if found is not None:
            when = {"git": git_state(), "measured": utc_now()}
            write_atomic(place, json.dumps(known | when | found, indent=1) + "\n")
            written.append(place)
            print(f"{path.parent.name}: {found['carried']}, {found['rate']:.1%} of {found['n']}")
    return written


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Which part of a problem the thoughts of a tier's models carry.")
    parser.add_argument("tier", help="a folder below papermill_runs/")
    measure(RUNS / parser.parse_args(argv).tier)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
