"""What all lessons do alike, a call each: open with checked settings, build, start, train, measure, record.

    lesson = Lesson("03_coconut_stages", globals())      # behind the parameters cell
    recipe = lesson.method()
    reasoner = lesson.reasoner(recipe)
    ...
    lesson.record(reasoner, metrics)                     # last; writes nothing unless the run has a folder
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from latent_backbones.weights import save_tensors
from latent_cot.curriculum import Budget
from latent_cot.evaluation import Evaluation, evaluate, measure
from latent_cot.methods import Method, entry, make
from latent_cot.models import Reasoner, ReasonerSpec, build_reasoner, save_reasoner, warm_start
from latent_cot.sequences import JOINED, Encoded, Layout, encode
from latent_cot.training import TrainOptions
from latent_probes.decodings import Decoding, by_results, decode_all
from latent_probes.donors import Donation, donate, donate_chains, donor_rate
from latent_probes.linear import N_FIT, comparable, in_thoughts
from latent_runs.answers import save_answers
from latent_runs.groups import TASK, Data, FrozenTable, Run
from latent_runs.keys import inputs_key
from latent_runs.launch import train_on
from latent_runs.records import fingerprint_state_dict, git_state, utc_now, write_result
from latent_runs.results import ANSWERS
from latent_runs.settings import given
from latent_tasks import Task, load_elsewhere, load_task

SHARE = "LATENT_COT_BUDGET"  # the tests run every lesson in short
MINIATURE = {"start_steps": 900, "start_lr": 3e-3, "steps_per_stage": 400}  # of a budget, unless told otherwise


def layout_of(data: Data) -> Layout:
    """How a run's problems are written."""
    return replace(JOINED if data.text == "joined" else Layout(), answer_prompt=data.answer_prompt, bos=data.bos)


class Lesson:
    """One run of a lesson. Raises ValueError for a parameter that is not there or of another type, RuntimeError where the
    code is not that of the checkout in which the notebook lies."""

    def __init__(self, name: str, namespace: Mapping[str, Any]):
        self.started, self._clock = utc_now(), time.perf_counter()
        self.name, self.parameters = name, given(name, namespace)
        git_state()  # the record names the commit that is here now, not one made while the lesson runs
        self._key = inputs_key(name, self.parameters)
        self.run, self.data = Run(**self._group("run")), Data(**self._group("data"))
        self.seed: int = self.parameters.get("seed", 0)
        self.folder = Path(self.run.dir) if self.run.dir else None
        self.layout = layout_of(self.data)
        self._share = self.run.budget * float(os.environ.get(SHARE, 1))
        self._steps = self._trained_on = 0
        self._flops, self._validation = 0.0, float("nan")
        self._longest_chain, self._started = 1, False

    def _group(self, name: str) -> dict[str, Any]:
        return self.parameters.get(name, {})

    def scaled(self, steps: int) -> int:
        """A number of optimiser steps as this run has it: all of them, or a share, at least one."""
        return max(1, round(steps * self._share)) if steps else 0

    @cached_property
    def frozen(self) -> FrozenTable:
        return FrozenTable(**self._group("frozen"))

    @cached_property
    def problems(self) -> Task:
        """The splits train, valid and test; in lesson 05, which validates nothing, train and test, from the splits that the
        group `frozen` names: where they are the same one, its first problems are for the test."""
        name, data = self.parameters.get("task", TASK), self.data
        if "frozen" not in self.parameters:
            sizes = {"train": data.n_train, "valid": data.n_valid, "test": data.n_test}
            return load_task(name, sizes=sizes, **data.options)
        train, test = self.frozen.train_split, self.frozen.test_split
        before = data.n_test if train == test else 0
        found = load_task(name, sizes={test: data.n_test, train: before + data.n_train}, **data.options)
        return replace(found, splits={"train": found.splits[train][before:], "test": found.splits[test][: data.n_test]})

    @cached_property
    def elsewhere(self) -> dict[str, Task]:
        """By name, the problems of `data.out_of_domain`, none of which training can hold."""
        return {name: load_elsewhere(self.problems, self.data.options, **of) for name, of in self.data.out_of_domain.items()}

    @cached_property
    def training(self) -> TrainOptions:
        known = {one.name for one in fields(TrainOptions)}
        return TrainOptions(**{"seed": self.seed} | {k: v for k, v in self._group("training").items() if k in known})

    @cached_property
    def budget(self) -> Budget:
        """Steps and learning rates, from the parameters of these names and the group `training`."""
        given = MINIATURE | self.parameters | self._group("training")
        found = {one.name: given[one.name] for one in fields(Budget) if one.name in given}
        steps = {key: self.scaled(value) for key, value in found.items() if key.endswith("steps") or key == "steps_per_stage"}
        return Budget(**found | steps)

    def method(self, name: str = "", **options: Any) -> Method:
        """The method of the parameters, or a registered one by name; what starts from a model has no start of its own."""
        own = self.parameters.get("method", "")
        known = {one.name for one in fields(entry(name or own).options)}
        given = self._group("options") if name in ("", own) else {}
        options = {"longest_chain": given.get("longest_chain") or self._longest_chain} | options
        budget = replace(self.budget, start_steps=0) if self.run.init_from else self.budget
        return make(name or own, given | {key: value for key, value in options.items() if key in known}, budget)

    def reasoner(self, method: Method, **spec: Any) -> Reasoner:
        """A model for a method: the group `model`, else `spec`, else the defaults of `ReasonerSpec`. Raises ValueError for a
        tiny model of a task without a closed vocabulary, of which it could read no word."""
        own = {"writer": method.writer, "writer_options": dict(method.writer_options), "words": self.problems.words or ()}
        made = ReasonerSpec(**own | spec | self._group("model"))
        if made.lm == "tiny" and not made.words and any(one.question for one in self.problems.splits.get("train", ())[:1]):
            name = self.parameters.get("task", TASK)
            raise ValueError(f"{name} has no closed vocabulary, so a tiny model cannot read it: set model.lm, say to smollm2")
        return build_reasoner(made, self.seed)

    def encode(self, reasoner: Reasoner, encoder: Callable[..., list[Encoded]] | None = None) -> list[Encoded]:
        """The training problems in token ids, without those that are too long; `encoder` as for `evaluation.evaluate`."""
        problems = self.problems.splits["train"]
        if most := self.data.max_text_tokens:
            texts = [p.question + " ".join(p.steps) + p.answer for p in problems]
            problems = tuple(p for p, ids in zip(problems, reasoner.tokenizer(texts).input_ids) if len(ids) <= most)
        encoded = (encoder or encode)(problems, reasoner.tokenizer, self.layout)
        return [problem for problem in encoded if not self.data.max_tokens or problem.n_tokens <= self.data.max_tokens]

    def load(self) -> tuple[Method, Reasoner, list[Encoded]]:
        """The method of the parameters, a model for it, and the training problems in its tokens."""
        reasoner = self.reasoner(self.method())
        encoded = self.encode(reasoner)
        self._longest_chain = max(sum(map(len, problem.steps)) for problem in encoded)
        return self.method(), reasoner, encoded

    def start(self, reasoner: Reasoner, encoded: Sequence[Encoded] = ()) -> None:
        """Weights of a trained model to begin with, if the run names one; else, on the problems that are given, CoT for the
        budget's `start_steps`. `train` does the former by itself."""
        self._started = True
        if self.run.init_from:
            warm_start(reasoner, Path(self.run.init_from))
        elif encoded and self.budget.start_steps:
            self.train(reasoner, make("cot", {}, self.budget.for_start()), encoded, name="cot", validate=False)

    def train(
        self, reasoner: Reasoner, method: Method, encoded: Sequence[Encoded], name: str = "", validate: bool = True,
        **options: Any,
    ) -> pd.DataFrame:  # fmt: skip
        """Train, on one process or several; a run with a folder goes on where it was killed. `name` tells trainings of one
        lesson apart; with `validate` the weights that answer best on the validation problems are kept; `options` override
        the lesson's `TrainOptions`."""
        self.elsewhere  # what cannot be made is told before training, not behind it
        if not self._started:
            self.start(reasoner)
        valid = self.problems.splits.get("valid", ())
        check = (lambda: self.evaluate(reasoner, method, valid).accuracy) if validate else None
        folder = self.folder / name if self.folder else None
        how = replace(self.training, **options)
        history = train_on(self.run.n_processes, reasoner, method, encoded, how, check, folder=folder)
        self._steps, self._trained_on = self._steps + len(history), len(encoded)
        self._flops += float(history.get("flops", pd.Series(dtype=float)).sum())
        self._validation = float(history.get("validation", pd.Series(dtype=float)).max())  # of the weights that are kept
        return history

    def asking(self, method: Method) -> dict[str, Any]:
        """How `evaluation.evaluate` is to ask a model of this method."""
        how = {"layout": self.layout, "max_new_tokens": self.data.max_new_tokens}
        return how | {"n_thoughts": method.n_thoughts, "marked": method.thinks_between_markers}

    def evaluate(self, reasoner: Reasoner, method: Method, problems=None, task: Task | None = None, **how: Any) -> Evaluation:
        """Answers to the test problems, or to others; `how` overrides `asking`."""
        some = self.problems.splits["test"] if problems is None else problems
        return evaluate(_on_the_gpu(reasoner), task or self.problems, some, **self.asking(method) | how)

    def measure(self, reasoner: Reasoner, method: Method) -> tuple[dict[str, Any], Evaluation]:
        """What a record keeps of a trained model: accuracy, tokens, the controls; accuracy on problems of another
        kind, where `data.out_of_domain` names some; whether the thoughts say the results of the steps, to the LM head and
        to linear probes, and whether they, or a written chain, carry the answer to another problem."""
        method = replace(method, n_thoughts=self.data.n_thoughts_at_test or method.n_thoughts)
        metrics, asked = measure(_on_the_gpu(reasoner), self.problems, self.problems.splits["test"], **self.asking(method))
        result, decoded, donations = asked["thoughts"], list[Decoding](), list[Donation]()
        metrics |= {"chance": self.problems.chance, "out_of_domain": {}}
        for name, other in self.elsewhere.items():
            metrics["out_of_domain"][name] = self.evaluate(reasoner, method, other.splits["test"], other).metrics
        if method.n_thoughts:
            decoded = decode_all(reasoner, result)
            metrics["decoded"] = by_results(decoded, grade=self.problems.grade)
            fit = self.problems.splits["train"][:N_FIT]
            if comparable([*fit, *result.problems]):
                metrics["in_thoughts"] = in_thoughts(self.evaluate(reasoner, method, fit, max_new_tokens=1), result)
            donations = donate(reasoner, result.problems, **self.asking(method))
        elif method.writes_chain:
            donations = donate_chains(reasoner, result.problems, layout=self.layout)
        if donations:
            metrics["donor"] = donor_rate(self.problems, donations)
        if self.folder:
            save_answers(self.folder / ANSWERS, asked, decoded, donations)
        return metrics, result

    def record_machine(self, metrics: Mapping[str, Any]) -> None:
        """Leave `result.json` of a run that measured this machine, not a model."""
        if self.folder:
            self._write(metrics, model_fingerprint="", data_fingerprint="")

    def record(self, reasoner: Reasoner, metrics: Mapping[str, Any], only_writer: bool = False) -> None:
        """Leave `result.json` in the run's folder, if it has one, and weights, if it trained any or started from some.
        `only_writer`: all else was frozen."""
        if not self.folder:
            return
        if only_writer:
            save_tensors(self.folder / "projection.safetensors", reasoner.writer.state_dict())
        elif self._started:
            save_reasoner(reasoner, self.folder)
        learned = reasoner.writer if only_writer else reasoner
        counted: dict[str, Any] = {"train_steps": self._steps, "train_flops": self._flops, "n_trained_on": self._trained_on}
        if pd.notna(self._validation):  # settings are chosen on this, never on the test split
            counted["validation"] = self._validation
        if torch.cuda.is_available():
            counted["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        metrics = counted | {"parameters": sum(p.numel() for p in learned.parameters())} | dict(metrics)
        fingerprint = fingerprint_state_dict(reasoner.state_dict())
        self._write(metrics, model_fingerprint=fingerprint, data_fingerprint=self.problems.fingerprint)

    def _write(self, metrics: Mapping[str, Any], **fingerprints: str) -> None:
        write_result(
            Path(self.run.dir) / "result.json",
            notebook=self.name,
            parameters=self.parameters,
            metrics=metrics,
            n_evaluated=metrics["n"],
            tokens_per_answer=metrics.get("new_tokens"),
            wall_seconds=time.perf_counter() - self._clock,
            started=self.started,
            key=self._key,
            status="complete" if self._share == 1 else "smoke",
            **fingerprints,
        )


def _on_the_gpu(reasoner: Reasoner) -> Reasoner:
    """A model that was not trained in this process is still on the CPU."""
    if torch.cuda.is_available() and next(reasoner.parameters()).device.type == "cpu":
        reasoner.to("cuda")
    return reasoner
