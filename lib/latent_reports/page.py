"""The report as Markdown and as one self-contained page, and what README shows of it."""

import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from latent_reports.claims import PAGE
from latent_reports.held import CHAPTER as PROBES
from latent_reports.ladder import CHAPTER as LADDER
from latent_reports.papers import MARKS, PAPERS
from latent_reports.significance import WHAT_IS_NOISE
from latent_reports.tables import AIMS, MAIN, NONE, Section
from latent_runs.records import replace_block, write_atomic

AGAINST = "against "  # how a main table's column begins that holds differences from No-CoT
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
CHAPTERS = [PAGE, MAIN, LADDER, *(paper.name for paper in PAPERS), PROBES, "Machines", "Records"]
IN_SHORT, IN_SHORT_LINES = "In short", 10
BRIEF = 11  # columns of a main table that a reader sees at once; those on the right say what it cost
HOW, NOT_YET = "How to read the tables", "Not recorded yet"


def write_report(tables: Sequence[Section], figures: Mapping[str, Figure], out: str | Path) -> None:
    """`report.md`, the self-contained `report.html`, and a PNG for each figure, in `out`. A figure's label is its alternative
    text."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        figure.savefig(out / f"{name}.png", dpi=200, metadata={"Software": None})
    there = [table for table in tables if not table.empty]
    chapters = [(name, [table for table in there if table.chapter == name]) for name in CHAPTERS]
    chapters = [(name, some) for name, some in chapters if some]
    lines, missing = in_short(tables), not_yet(tables)
    write_atomic(out / "report.md", _as_markdown(chapters, lines, missing, figures))
    write_atomic(out / "report.html", _as_html(chapters, lines, missing, figures))


def in_short(tables: Sequence[Section], tier: str = "tiny") -> list[str]:
    """What became of the aims, and the claims that agree and disagree, each with its number, in ten lines."""
    mine = [table for table in tables if table.tier == tier]
    aims = [(table.title, [note for note in table.notes if note.startswith("Aim")]) for table in mine]
    lines = [f"{title}. {' '.join(notes)}" for title, notes in aims if notes]
    for table in mine:
        if table.chapter == PAGE:
            lines.append(table.notes[0])
            said = [row for row in table.table.to_dict("records") if row["in miniature"] in ("agrees", "disagrees")]
            said.sort(key=lambda row: row["in miniature"] == "agrees")  # what contradicts a paper first
            room = IN_SHORT_LINES - len(lines)
            lines += [f"{row['claim']}: {row['in miniature']}, {row['difference']}." for row in said[:room]]
            if len(said) > room:
                lines[-1] = f"And {len(said) - room + 1} more claims that agree or disagree, under “{table.title}”."
    return lines


def not_yet(tables: Sequence[Section]) -> list[str]:
    """A line for each tier with tables of which no row has a record."""
    gone = sorted((table for table in tables if table.empty and table.chapter != PAGE), key=lambda table: table.tier)
    return [
        f"Tier {tier}: {'; '.join(table.title.removesuffix(f' (tier {tier})') for table in some)}."
        for tier, some in groupby(gone, lambda table: table.tier)
    ]


def readme_block(tables: Sequence[Section], figure: str, tier: str = "tiny") -> str:
    """The tables with aims and that of four steps, without the columns on the right, the ladder and the figure, between the
    markers."""
    here = [table for table in tables if table.tier == tier]
    shown = [_markdown(brief(table)) for table in here if table.name in {*AIMS, "arithmetic4"}]
    shown += [_markdown(table) for table in here if table.chapter == LADDER and not table.empty]
    return "\n\n".join([BEGIN, HOW_TO_READ, *shown, f"![Accuracy by method and task]({figure})", END])


def update_readme(readme: str | Path, tables: Sequence[Section], figure: str) -> None:
    """Put `readme_block` in place of what stands between the markers. Raises `ValueError` without markers."""
    replace_block(readme, readme_block(tables, figure))


def brief(section: Section) -> Section:
    """Without the columns on the right, for README and the lesson."""
    return replace(section, table=section.table.iloc[:, :BRIEF])


def fair_first(section: Section) -> Section:
    """A main table whose rows that are compared with No-CoT, as both were trained for as many steps, stand on top below it."""
    rows, against = section.table, [name for name in section.table if str(name).startswith(AGAINST)]
    if not against:
        return section
    fair = rows[against[0]].ne(NONE) | rows.method.eq(against[0].removeprefix(AGAINST))
    return replace(section, table=rows.loc[fair[fair].index.append(fair[~fair].index)])


def opened(section: Section) -> str:
    """Markdown of a table with its title and notes, for a lesson: a main table in brief; no word on whose code made the
    records, which every edit changes."""
    shown = brief(section) if section.name else section
    return _markdown(replace(shown, table=shown.table.drop(columns="code", errors="ignore"))).rstrip()


def folded(title: str, markdown: str) -> str:
    """Markdown that opens with a click."""
    return f"<details><summary>{html.escape(title)}</summary>\n\n{markdown}\n\n</details>"


def bullets(notes: Sequence[str]) -> str:
    """Sentences as Markdown, none of whose signs are taken for markup."""
    return "\n".join(f"- {_safe(note)}" for note in notes)


def contents(tables: Sequence[Section]) -> str:
    """Markdown: the report's chapters, each of which opens to its tables that have a record, with their number of rows."""
    told = []
    for name in CHAPTERS:
        lines = [f"{one.title}: {_counted(len(one.table), 'row')}" for one in tables if one.chapter == name and not one.empty]
        if lines:
            told.append(folded(f"{name}: {_counted(len(lines), 'table')}", bullets(lines)))
    return "\n\n".join(told)


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' * (n != 1)}"


def slug(title: str) -> str:
    """A heading's anchor, as GitHub makes it, so that a link leads to the same place in both reports."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _as_markdown(chapters, lines: list[str], missing: list[str], figures: Mapping[str, Figure]) -> str:
    text = ["# Results", f"## {IN_SHORT}", bullets(lines), "## Contents"]
    text.append("\n".join(f"- [{name}](#{slug(name)}): " + ", ".join(f"[{_safe(t.title)}](#{slug(t.title)})" for t in some)
                          for name, some in chapters))  # fmt: skip
    text += [f"![{_told(name, figure)}]({name}.png)" for name, figure in figures.items()]
    text += [f"## {HOW}", HOW_TO_READ]
    for name, some in chapters:
        text += [f"## {name}", *map(_markdown, some)]
    return "\n\n".join([*text, *([f"## {NOT_YET}", bullets(missing)] if missing else [])]) + "\n"


def _as_html(chapters, lines: list[str], missing: list[str], figures: Mapping[str, Figure]) -> str:
    style, script = ((Path(__file__).with_name(f"report.{kind}")).read_text(encoding="utf-8") for kind in ("css", "js"))
    contents = [_link(IN_SHORT)]
    for name, some in chapters:
        inside = "".join(f"<li>{_link(table.title)}</li>" for table in some)
        contents.append(f"<details open><summary>{_link(name)}</summary><ol>{inside}</ol></details>")
    page = ['<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">']
    page += [f"<title>Results</title><style>{style}</style><nav aria-label='Contents'>{''.join(contents)}</nav><main>"]
    page += ["<h1>Results</h1>", _heading(2, IN_SHORT), _items(lines)]
    page += [f'<figure role="img" aria-label="{html.escape(_told(name, figure))}">{_svg(figure)}</figure>'
             for name, figure in figures.items()]  # fmt: skip
    page += [f'<details><summary id="{slug(HOW)}">{HOW}</summary><p>{html.escape(HOW_TO_READ)}</p></details>']
    for name, some in chapters:
        page.append(_heading(2, name))
        for table in some:
            kind = "wide text" if table.chapter in (PAGE, "Records") else "wide"
            page += [_heading(3, table.title), f'<div class="{kind}" tabindex="0">{table.styled.to_html()}</div>']
            page.append(_items(table.notes))
    page += [_heading(2, NOT_YET), _items(missing)] if missing else []
    return "\n".join([*page, f"</main><script>{script}</script></html>\n"])


def _svg(figure: Figure) -> str:
    """Its text stays text; the same figure gives the same bytes."""
    drawn = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "latent-cot"}):
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return drawn.getvalue()[drawn.getvalue().index("<svg") :]


def _told(name: str, figure: Figure) -> str:
    return str(figure.get_label() or name)


def _heading(level: int, title: str) -> str:
    return f'<h{level} id="{slug(title)}">{html.escape(title)}</h{level}>'


def _link(title: str) -> str:
    return f'<a href="#{slug(title)}">{html.escape(title)}</a>'


def _items(notes: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{html.escape(note)}</li>' for note in notes)}</ul>"


def _safe(text: object) -> str:
    return re.sub(r"([|\[\]`*\\])", r"\\\1", html.escape(" ".join(str(text).split()), quote=False))


def _markdown(section: Section) -> str:
    rule = ["---", *["---:"] * (section.table.shape[1] - 1)]
    rows = [[*section.table.columns], rule, *(map(_safe, row) for row in section.table.itertuples(index=False))]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([f"### {_safe(section.title)}", lines, bullets(section.notes)])
