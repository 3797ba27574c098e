"""Figures of the notebooks and of the report: one look, few lines."""

import random
from collections.abc import Sequence as Seq

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from transformers import PreTrainedTokenizerBase

from latent_cot.curriculum import Stage
from latent_cot.sequences import Encoded
from latent_cot.tokens import Markers

THOUGHT = "●"  # how a thought is written in text: a position without a word


def use_style() -> None:
    """Large enough for the back of a room, colours that colour-blind readers can tell apart."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", rc={"figure.dpi": 110})


def layouts(tokenizer: PreTrainedTokenizerBase, markers: Markers, problem: Encoded, curriculum: Seq[Stage]) -> str:
    """One line a stage: question | thoughts | language, the unsupervised part in parentheses."""
    width = max(len(stage.name) for stage in curriculum)
    lines = []
    for stage in curriculum:
        s = stage.arrange(problem, markers, random.Random(0))
        question = tokenizer.decode(s.question).strip()
        silent = tokenizer.decode(s.language[: s.n_unsupervised]).strip()
        spoken = tokenizer.decode(s.language[s.n_unsupervised :]).strip()
        thoughts = " ".join([THOUGHT] * s.n_thoughts)
        lines.append(f"{stage.name:>{width}}  {question} | {thoughts} {silent} | {spoken}".replace("\n", "⏎"))
        if s.teacher:
            question = tokenizer.decode(problem.question).strip()  # no <bot>: only the student reads it
            lines.append(f"{'teacher':>{width}}  {question} |  | {tokenizer.decode(s.teacher)}".replace("\n", "⏎"))
    return "\n".join(lines)


def history_figure(history: pd.DataFrame) -> Figure:
    """Loss parts over optimiser steps, one shade a stage, with the validation accuracy on the right axis."""
    use_style()
    figure, axis = plt.subplots(figsize=(8, 3.2), layout="constrained")
    parts = [c for c in history.columns if c not in ("stage", "step", "loss", "problems_per_second", "validation")]
    steps = range(1, len(history) + 1)
    for part in parts:
        axis.plot(steps, history[part].rolling(10, min_periods=1).mean(), label=part)
    starts = [i for i in range(len(history)) if i == 0 or history.stage.iloc[i] != history.stage.iloc[i - 1]]
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(history)])):
        axis.axvspan(start, end, color="0.5", alpha=0.06 + 0.08 * (number % 2), lw=0)
        axis.text(start + 5, 0.98, history.stage.iloc[start], transform=axis.get_xaxis_transform(), va="top", size=9)
    axis.set(xlabel="optimiser steps", ylabel="loss", yscale="log")
    axis.legend(loc="lower left", frameon=False)
    if "validation" in history and history.validation.notna().any():
        scores = history.validation
        right = axis.twinx()
        right.plot([i for i in steps if scores.iloc[i - 1] == scores.iloc[i - 1]], scores.dropna(), "ko--", ms=4, lw=1)
        right.set(ylabel="validation accuracy", ylim=(0, 1))
        right.grid(False)
    plt.close(figure)
    return figure
