"""Fair opponents: what a claim or an aim compares was trained for as many steps on as many examples, and what it took is
counted."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from latent_cot.curriculum import Budget
from latent_cot.methods import make
from latent_cot.models import ReasonerSpec, build_reasoner
from latent_cot.sequences import encode
from latent_cot.step_flops import flops
from latent_cot.training import TrainOptions, train
from latent_reports.papers import PAPERS
from latent_reports.significance import MEASURES
from latent_reports.tables import AIMS
from latent_runs.lesson import SHARE, Lesson
from latent_runs.plan import Run, grid_path, read_grid
from latent_runs.settings import nested, typed_parameters
from latent_tasks import load_task

RUNS = {run.variant: run for run in read_grid(grid_path("tiny"))}
BASELINES = "02_explicit_baselines"
COMPARED = [
    (claim.first, claim.second)
    for paper in PAPERS
    for study in paper.studies
    for claim in study.claims
    if any(MEASURES[name].column.endswith("accuracy") for name in study.measures)
] + [(f"{section}-{method}", f"{section}-{other}") for section, aims in AIMS.items() for method, other, _ in aims if other]
WITH_BASELINE = sorted({
    pair for pair in COMPARED if {*pair} <= RUNS.keys()
    and BASELINES in {RUNS[one].notebook for one in pair}
    and len({RUNS[one].parameters.get("method", RUNS[one].notebook) for one in pair}) > 1
})  # fmt: skip


def budget(run: Run) -> tuple[int, int]:
    """Optimiser steps and examples in total, the start included."""
    known = {name: one.value for name, one in typed_parameters(run.notebook).items()} | nested(run.arguments)
    lesson, longest = Lesson(run.notebook, known), 1
    if known["method"] == "icot":  # which has a stage for so many tokens
        longest = max(sum(map(len, problem.steps)) for problem in lesson.encode(lesson.reasoner(lesson.method())))
    steps = sum(stage.steps for stage in lesson.method(longest_chain=longest).curriculum)
    before = budget(run.after) if run.after else (0, 0)
    return before[0] + steps, before[1] + steps * lesson.training.batch_size


@pytest.mark.parametrize("pair", WITH_BASELINE, ids=" and ".join)
def test_a_method_and_its_baseline_have_the_same_budget(pair, monkeypatch):
    monkeypatch.delenv(SHARE, raising=False)
    first, second = (budget(RUNS[one]) for one in pair)
    assert first == second


def test_the_main_tables_compare_with_every_baseline():
    for name in ("cot_long", "no_cot_long", "pause_long", "icot_long"):
        assert any(f"arithmetic-{name}" in pair for pair in WITH_BASELINE)
    for name in ("cot", "no_cot", "pause", "icot_long"):
        assert any(f"graph-{name}" in pair for pair in WITH_BASELINE)


@pytest.mark.parametrize(("name", "lora"), [("cot", 0), ("coconut", 0), ("codi", 0), ("cot", 4)])
def test_training_flops_are_those_that_torch_counts(name, lora):
    """But for attention's own products, which are few where texts are short and the model is wide."""
    task = load_task("arithmetic", sizes={"train": 8})
    method = make(name, {}, Budget(steps=1, lr=1e-3, steps_per_stage=1, start_steps=0))
    spec = ReasonerSpec(words=task.words, writer=method.writer, writer_options=dict(method.writer_options), d_model=256,
                        n_layers=4, n_heads=4, lora_rank=lora)  # fmt: skip
    reasoner = build_reasoner(spec)
    encoded = encode(task.splits["train"], reasoner.tokenizer)
    short = replace(method, curriculum=method.curriculum[-1:])
    with FlopCounterMode(display=False) as counted:
        history = train(reasoner, short, encoded, TrainOptions(batch_size=8, validations=0), progress_bar=False)
    total = sum(count for op, count in counted.get_flop_counts()["Global"].items() if op is not torch.ops.aten.bmm)
    assert history.flops.sum() == pytest.approx(total, rel=0.15)
    assert flops(reasoner)([]) == 0
