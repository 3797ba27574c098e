"""The box at the end of a lesson: what of the papers' claims was found here, what was not, and what nobody has tested.

Verdicts and numbers are those of the report: from all seeds that are recorded, corrected for all claims of its page.
"""

from collections.abc import Iterable, Sequence
from functools import cache

from latent_reports.claims import studies_of, verdicts_of
from latent_reports.frozen import answered
from latent_reports.papers import PAPERS, SOFTCOT
from latent_reports.tables import FROZEN_NOTEBOOK
from latent_runs.places import RECORDED
from latent_runs.plan import grid_path, read_grid
from latent_runs.results import load_results

BOXES = {
    "Found, as in the paper": ("agrees",),
    "Not found": ("disagrees", "inside the noise"),
    "Not tested": ("not judged", "at the floor", "not run", "by construction"),
}


def box(titles: Iterable[str], tier: str = "tiny") -> str:
    """Markdown: the claims of some studies, by title, sorted by verdict. Raises ValueError for a study that is not there."""
    titles, known = [*titles], {study.title for paper in PAPERS for study in paper.studies}
    if unknown := [title for title in titles if title not in known]:
        raise ValueError(f"no study is called {', '.join(map(repr, unknown))}; there are: {', '.join(sorted(known))}")
    return _boxed([line for title, *line in _page(tier) if title in titles], "all claims of the report")


def frozen_box(variant: str, tier: str = "tiny") -> str:
    """The same of SoftCoT's questions (papermill_runs/papers/softcot.yaml) to the records of one variant of lesson 05."""
    records = load_results(RECORDED / tier / FROZEN_NOTEBOOK)
    records = records[records.trusted.astype(bool) & (records.variant == variant)]
    lines = [(question.asks, str(gap), verdict) for question, gap, verdict in answered(records)]
    lines = lines or [(question.asks, "no record", "not run") for question in SOFTCOT.questions]
    return _boxed(lines, "all of these questions")


def _boxed(lines: Iterable[Sequence[str]], family: str) -> str:
    """Lines of claim, difference and verdict, below the heading of their verdict."""
    lines, parts = [*lines], []
    for heading, verdicts in BOXES.items():
        told = [
            f"- {claim}{'' if claim.endswith('?') else ':'} {gap}{'' if verdict in gap else f' ({verdict})'}."
            for claim, gap, verdict in lines
            if verdict in verdicts
        ]
        parts.append("\n".join([f"**{heading}**", "", *(told or ["- nothing"])]))
    parts.append(f"An interval is of its line alone; the verdict in brackets is corrected for {family}.")
    return "\n\n".join(parts)


@cache
def _page(tier: str) -> list[tuple[str, str, str, str]]:
    """Study, claim, difference and verdict of every claim on the report's page of a tier, from the committed records."""
    studies = studies_of(tier, load_results(RECORDED / tier), read_grid(grid_path(tier)))
    return [(study.title, line["claim"], line["difference"], verdict) for study, line, _, verdict in verdicts_of(studies)]
