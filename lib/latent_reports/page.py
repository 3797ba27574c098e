"""The report as Markdown and as one self-contained page, and what README shows of it."""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from matplotlib.figure import Figure

from latent_reports.papers import MARKS
from latent_reports.significance import WHAT_IS_NOISE
from latent_reports.tables import AIMS, Section
from latent_runs.records import replace_block, write_atomic

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
HOW_TO_READ = (
    "Accuracy: mean ± standard deviation over seeds. New tokens: thoughts and what is written, its end included; `<bot>` and "
    "`<eot>`, which are forced, are not counted. Milliseconds a question: measured in one process, models in turn (`make "
    "latency`), median and quartiles over questions, mean over seeds. Controls: the same model answers after its thoughts are "
    "removed, swapped with another problem's, or replaced by their mean: are they needed? Donor rate, do they carry the "
    "answer: of pairs of problems with different answers, the share in which the donor's is given when its thoughts (of CoT: "
    "its steps in words) stand there, minus the share in which it is given when a third problem's do. Steps and FLOPs in total "
    "include those of the model that a run starts from; a row is compared with No-CoT if both have as many steps in total. "
    "FLOPs are of products with matrices: for a weight and position 2 forward, 2 backward, 2 more where the weight is trained. "
    "Code: today's makes the record (same key), or older code did, and its number stands until it is run again. Marks: "
    + ", ".join(f"{mark} {meaning}" for mark, meaning in MARKS.items())
    + ". "
    f"{WHAT_IS_NOISE}"
)
CSS = """body{font:16px/1.5 system-ui,sans-serif;max-width:86rem;margin:2rem auto;padding:0 1rem;color:#222}
div{overflow-x:auto}table{border-collapse:collapse;font-size:.85rem}th,td{padding:.3rem .6rem;text-align:right;
border-bottom:1px solid #ddd}td{white-space:nowrap}tr :first-child{text-align:left}img{max-width:100%}"""


def write_report(tables: Sequence[Section], figures: Mapping[str, Figure], out: str | Path) -> None:
    """`report.md`, the self-contained `report.html`, and a PNG for each figure, in `out`."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    text = ["# Results", HOW_TO_READ, *(f"![{name}]({name}.png)" for name in figures), *map(_markdown, tables)]
    page = ['<!doctype html><html lang="en"><meta charset="utf-8"><title>Results</title>']
    page.append(f"<style>{CSS}</style><h1>Results</h1><p>{HOW_TO_READ}</p>")
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png", dpi=110, metadata={"Software": None})
        data = base64.b64encode((out / f"{name}.png").read_bytes()).decode()
        page.append(f'<p><img alt="{name}" src="data:image/png;base64,{data}"></p>')
    for table in tables:
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
        page.append(f"<h2>{html.escape(table.title)}</h2><div>{table.styled.to_html()}</div><ul>{notes}</ul>")
    write_atomic(out / "report.md", "\n\n".join(text) + "\n")
    write_atomic(out / "report.html", "\n".join([*page, "</html>\n"]))


def readme_block(tables: Sequence[Section], figure: str, tier: str = "tiny") -> str:
    """The tables with aims, without the columns on the right, and the figure, between the markers."""
    main = [table for table in tables if table.tier == tier and table.name in AIMS]
    brief = [_markdown(replace(table, table=table.table.iloc[:, :11])) for table in main]
    return "\n\n".join([BEGIN, HOW_TO_READ, *brief, f"![Accuracy by method and task]({figure})", END])


def update_readme(readme: str | Path, tables: Sequence[Section], figure: str) -> None:
    """Put `readme_block` in place of what stands between the markers. Raises `ValueError` without markers."""
    replace_block(readme, readme_block(tables, figure))


def _markdown(section: Section) -> str:
    def safe(text: object) -> str:
        return re.sub(r"([|\[\]`*\\])", r"\\\1", html.escape(" ".join(str(text).split()), quote=False))

    rule = ["---", *["---:"] * (section.table.shape[1] - 1)]
    rows = [[*section.table.columns], rule, *(map(safe, row) for row in section.table.itertuples(index=False))]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([f"### {safe(section.title)}", lines, "\n".join(f"- {safe(note)}" for note in section.notes)])
