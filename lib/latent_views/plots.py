"""Figures of the notebooks and of the report: one look, few lines."""

import inspect
import random
from collections.abc import Callable, Mapping
from collections.abc import Sequence as Seq
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import seaborn as sns
from IPython.display import Code
from matplotlib.figure import Figure
from pandas.io.formats.style import Styler
from transformers import PreTrainedTokenizerBase

from latent_backbones.tokens import Markers
from latent_cot.curriculum import Stage
from latent_cot.evaluation import Evaluation
from latent_cot.sequences import Encoded

OUTCOMES = {  # from the bottom of a bar up: right in blue, wrong in orange, lighter where no path was written
    "Correct Path": "#08519c", "Longer Path": "#4292c6", "Correct Label": "#9ecae1",
    "Incorrect Label": "#fdd0a2", "Wrong Target": "#fd8d3c", "Hallucination": "#a63603",
}  # fmt: skip
THOUGHT = "●"  # how a thought is written in text: a position without a word


def use_style() -> None:
    """Large enough for the back of a room, colours that colour-blind readers can tell apart."""
    sns.set_theme(context="notebook", style="whitegrid", palette="colorblind", rc={"figure.dpi": 110})


def subplots(rows: int = 1, columns: int = 1, **options: Any) -> tuple[Figure, Any]:
    """`plt.subplots` in this look."""
    use_style()
    return plt.subplots(rows, columns, layout="constrained", **options)


def source(function: Callable[..., Any]) -> Code:
    """A function of the library as it stands there, to be read."""
    return Code(inspect.getsource(function), language="python")


def layouts(tokenizer: PreTrainedTokenizerBase, markers: Markers, problem: Encoded, curriculum: Seq[Stage]) -> str:
    """One line a stage: question | thoughts | language, the unsupervised part in parentheses."""

    def said(ids: Seq[int]) -> str:
        return str(tokenizer.decode(list(ids))).strip()

    width = max(len(stage.name) for stage in curriculum)
    lines = []
    for stage in curriculum:
        s = stage.arrange(problem, markers, random.Random(0))
        thoughts, n = " ".join([THOUGHT] * s.n_thoughts), s.n_unsupervised
        lines.append(f"{stage.name:>{width}}  {said(s.question)} | {thoughts} {said(s.language[:n])} | {said(s.language[n:])}")
        if s.teacher:  # no <bot>: only the student reads it
            lines.append(f"{'teacher':>{width}}  {said(problem.question)} |  | {said(s.teacher)}")
    return "\n".join(line.replace("\n", "⏎") for line in lines)


def stages(curriculum: Seq[Stage]) -> pd.DataFrame:
    """A curriculum as a table: for how many steps, how fast."""
    return pd.DataFrame([{name: value for name, value in vars(stage).items() if name != "arrange"} for stage in curriculum])


def shares(metrics: Mapping[str, Any]) -> Styler:
    """Accuracy, and what is left of it under each control."""
    found = {"accuracy": metrics["accuracy"], **metrics.get("controls", {})}
    return pd.Series(found, name="share correct").to_frame().style.format("{:.1%}")


def answers(result: Evaluation, n: int = 5) -> pd.DataFrame:
    """The first answers, beside the right ones."""
    rows = [(p.question, a.n_tokens, a.text, p.answer) for p, a in zip(result.problems[:n], result.answers)]
    return pd.DataFrame(rows, columns=["question", "positions spent", "written", "right answer"])


def history_figure(history: pd.DataFrame) -> Figure:
    """Loss parts over optimiser steps, a shade a stage, the validation accuracy on the right axis; on top how it ended."""
    figure, axis = subplots(figsize=(8, 3.4))
    rows = history.set_axis(range(1, len(history) + 1))
    losses = rows.drop(columns=["stage", "step", "loss", "problems_per_second", "flops", "validation"], errors="ignore")
    smooth = losses.rolling(10, min_periods=1).mean()
    wide = smooth.max().max() > 10 * smooth[smooth > 0].min().min()  # a logarithmic axis of less than a decade has odd ticks
    smooth.plot(ax=axis, logy=bool(wide), legend=False, xlabel="optimiser steps", ylabel="loss")
    bottom, top = axis.get_ylim()  # above the curves there is room for the stages' names
    axis.set_ylim(bottom, top * (top / bottom) ** 0.1 if wide else top + 0.1 * (top - bottom))
    for number, (stage, part) in enumerate(rows.groupby("stage", sort=False)):
        axis.axvspan(part.index[0] - 1, part.index[-1], color="0.5", alpha=0.06 + 0.08 * (number % 2), lw=0)
        axis.text(part.index[0] + 4, 0.985, stage, transform=axis.get_xaxis_transform(), va="top", size=9)
    handles, ended = axis.get_lines(), f"after {len(rows):,} steps: loss {rows.loss.tail(10).mean():.2g}"
    if "validation" in rows and rows.validation.notna().any():
        right, seen = axis.twinx(), rows.validation.dropna()
        seen.plot(ax=right, style="ko--", ms=4, lw=1, ylim=(-0.04, 1.04), ylabel="validation accuracy", clip_on=False)
        right.grid(False)
        handles, ended = [*handles, *right.get_lines()], f"{ended}, {seen.iloc[-1]:.0%} of the validation problems right"
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False)
    axis.set_title(ended, size=11)
    plt.close(figure)
    return figure


def outcomes_figure(rows: pd.DataFrame) -> Figure:
    """Stacked shares of the outcome classes, and accuracy, over the number of thoughts; a panel for each `method`."""
    use_style()
    parts = dict(list(rows.groupby("method", sort=False)))
    widths = [len(part) + 0.6 for part in parts.values()]
    figure = plt.figure(figsize=(2.6 + 0.62 * sum(widths), 3.6), layout="constrained")
    axes = figure.subplots(1, len(parts), sharey=True, squeeze=False, width_ratios=widths)
    for axis, (method, part) in zip(axes[0], parts.items()):
        shares = 100 * part.set_index("thoughts")[[*OUTCOMES]]
        shares.plot.bar(stacked=True, color=OUTCOMES, width=0.85, rot=0, legend=False, lw=0, ax=axis)
        axis.plot(range(len(part)), 100 * part.accuracy, "kD", mec="w", ms=8, label="right answer", clip_on=False)
        axis.set(title=method, xlabel="thoughts", ylabel="answers, %", ylim=(0, 100))
        axis.grid(False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right center", frameon=False)
    plt.close(figure)
    return figure
