"""README's section "Speed" and its figure, from what the bench has measured."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from latent_runs.records import replace_block

BEGIN, END = "<!-- speed:begin -->", "<!-- speed:end -->"
FIGURE = Path("notebooks/images/speed.png")


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    ruled = ["---", *["---:"] * (len(columns) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ruled, *rows))


def _bound(row: dict[str, Any]) -> str:
    """What a row is a share of: at batch 1 of the memory's bandwidth, else of the peak."""
    if "share_of_bandwidth" in row:
        return f"{row['share_of_bandwidth']:.0%} of the bandwidth"
    return f"{row['share_of_peak']:.0%} of the peak"


def readme_block(result: dict[str, Any]) -> str:
    """The section's parts, as far as they were measured."""
    machine, parts = result["machine"], [BEGIN]
    if peers := result.get("peers"):
        rows = [
            [row["what"], row["precision"], *(f"{row[side]:.2f}" for side in ("ours", "theirs")), f"{row['ratio']:.1f} ×"]
            for row in peers
        ]
        parts.append(_table(["examples a second, equal lengths", "precision", "ours", "official code", "ratio"], rows))
        parts.append(f"![Examples a second, ours over the official code's]({FIGURE})")
    if measured := result.get("rows"):
        rows = []
        for row in measured:
            speed = f"{row['examples_per_second']:.2f}", f"{row['tokens_per_second']:,.0f}"
            rows.append([row["what"], row["precision"], *speed, _bound(row)])
        parts.append(_table(["real lengths", "precision", "examples/s", "tokens/s", "share"], rows))
    if scaling := result.get("scaling"):
        said: dict[str, list[str]] = {}
        for row in scaling:
            said.setdefault(row["grows"], []).append(f"{row['to']}: {1000 * row['seconds']:.0f}")
        lines = "; ".join(f"{grows} {', '.join(some)}" for grows, some in said.items())
        parts.append(f"Milliseconds a question in fp32, as one thing grows: {lines}.")
    where = f"{machine['name']}, {machine['gpus']} GPUs, {result['threads']} threads"
    parts.append(f"GPT-2's shape; {where}. `make bench PEERS=<checkouts> README=README.md` writes this block.")
    return "\n\n".join([*parts, END])


def draw(peers: Sequence[dict[str, Any]], path: Path) -> None:
    """Bars: how many times as fast as the official code."""
    import pandas as pd
    import seaborn as sns
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(7, 2.8), dpi=110, layout="constrained")
    axes: Any = figure.add_subplot()
    sns.barplot(pd.DataFrame(peers), y="what", x="ratio", hue="precision", palette="colorblind", ax=axes)
    axes.bar_label(axes.containers[0], fmt="%.1f ×", padding=2)
    axes.bar_label(axes.containers[1], fmt="%.1f ×", padding=2)
    widest = max(row["ratio"] for row in peers)
    axes.set(xscale="log", xlabel="times as fast as the official code", ylabel="", xlim=(0.8, 2 * widest))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1, color="black", linewidth=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def page(result: dict[str, Any], readme: Path) -> None:
    """Write the section into README, and the figure beside it. Raises ValueError where README has no place for it."""
    replace_block(readme, readme_block(result))
    if "peers" in result:
        draw(result["peers"], readme.parent / FIGURE)
