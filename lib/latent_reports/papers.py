"""The papers as data: `papermill_runs/papers/<paper>.yaml`, checked as it is read; what is wrong there names file and line.

A file holds a paper's tables, each number with a mark that says how far to trust it; the sections of our main tables that
stand beside them; and its studies: which runs stand for a table or figure, what is claimed about them, and our reading.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import yaml
from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from latent_cot.methods import TITLES
from latent_reports.significance import ACCURACY, MEASURES
from latent_runs.places import GRIDS
from latent_runs.plan import Run, parse_yaml, read_grid

MARKS: dict[str, str] = {"V": "read in the paper", "2": "quoted from a later paper", "R": "recalled, not checked"}
Mark = Annotated[Literal["V", "2", "R"], BeforeValidator(str)]  # an unquoted 2 is a mark, too
Way = tuple[int | str, ...]  # keys and positions that lead into a file


class Part(BaseModel):
    """Of a file: an unknown key or a value of another type is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Number(Part):
    """What a paper prints, named by its quantity, with spread over runs and new tokens an answer where it gives them."""

    value: float = Field(gt=0, validation_alias=AliasChoices("accuracy", "probability", "times", "seconds"))
    spread: float | None = Field(None, gt=0)
    tokens: float | None = Field(None, gt=0)
    mark: Mark

    def __str__(self) -> str:
        return f"{self.value}" + (f" ± {self.spread}" if self.spread is not None else "") + f" ({self.mark})"


class Table(Part):
    """A table of the paper, where in it, of which model; its numbers by row, named as our methods are, and benchmark."""

    where: str
    model: str
    benchmarks: list[str] = []
    numbers: dict[str, dict[str, Number]] = {}


class MainTable(Part):
    """What stands over a section of ours, and beside it: a model of the paper on a benchmark."""

    title: str
    model: str
    benchmark: str | None = None


class Claim(Part):
    """What the paper says of two rows. Rows on a par differ by no more than a margin, in points."""

    first: str
    relation: Literal["above", "below", "on a par with"] = Field(validation_alias="is")
    second: str
    margin: float | None = Field(None, gt=0)
    mark: Mark

    @model_validator(mode="after")
    def _margin_where_it_belongs(self) -> "Claim":
        if (self.margin is None) == (self.relation == "on a par with"):
            raise ValueError("'on a par with' needs a margin, and nothing else has one")
        return self


class Study(Table):
    """Our runs that stand for a table or figure, and what each is; numbers are the paper's, beside these rows."""

    title: str
    rows: dict[str, str]
    measures: list[str] = [ACCURACY.label]
    by_construction: list[str] = []  # measures in which the claims hold whatever is trained
    claims: list[Claim] = []
    shown: bool = True  # in a table of its own
    reading: str = ""  # ours, of the tier tiny


class Question(Part):
    """What the difference between two rows asks, and the answers if it is above or below zero."""

    first: str
    second: str
    asks: str
    above: str
    below: str


class Frozen(Part):
    """The ways to ask a frozen model, by row; the benchmarks and models that stand beside ours; what rows are asked."""

    rows: dict[str, str]
    benchmarks: dict[str, str]
    models: dict[str, str]
    sweep: str
    questions: list[Question]
    readings: dict[str, str]  # ours, by tier, or by tier/task where a task has one of its own


class Paper(Part):
    """A file of `papermill_runs/papers/`."""

    name: str
    title: str
    authors: str
    arxiv: str = Field(pattern=r"^\d{4}\.\d{5}$")
    training_problems: dict[str, int] = {}
    tables: list[Table] = []
    sections: dict[str, MainTable] = {}
    frozen: Frozen | None = None
    studies: list[Study] = []

    def cite(self, where: str) -> str:
        """A place in it: `Coconut, arXiv 2412.06769, Table 1`."""
        return f"{self.name}, arXiv {self.arxiv}, {where}"


class Quoted(NamedTuple):
    """A number, and where it was printed."""

    number: Number
    source: str

    def __str__(self) -> str:
        return str(self.number)


def read_paper(path: Path, runs: Sequence[Run]) -> Paper:
    """One file; its studies are about `runs`. Raises `ValueError`, a line for each thing that is wrong: file, line, what."""
    text = path.read_text(encoding="utf-8")
    try:
        content, lines = parse_yaml(text), [((), 1), *_lines(yaml.compose(text, Loader=yaml.SafeLoader))]
        paper = Paper.model_validate(content)
        wrong = [*_unknown(paper, runs)]
    except yaml.MarkedYAMLError as error:
        raise ValueError(f"papers/{path.name}:{error.problem_mark.line + 1}: {error.problem}") from error
    except ValidationError as error:
        found, strange = error.errors(), {one["loc"][:-1] for one in error.errors() if one["type"] == "extra_forbidden"}
        found = [one for one in found if one["type"] != "missing" or one["loc"][:-1] not in strange]  # misspelt, not missing
        wrong = [(one["loc"], one["msg"].removeprefix("Value error, ")) for one in found]
    times = Counter(way for way, _ in lines)
    wrong += [(way, "is there twice") for way in times if times[way] > 1 == times[way[:-1]]]
    if wrong:
        line = dict(lines)  # of a key that is there twice, the second; of what is not there, that of what it is missing in
        at = [next(line[way[:n]] for n in range(len(way), -1, -1) if way[:n] in line) for way, _ in wrong]
        told = (f"papers/{path.name}:{n}: {'.'.join(map(str, way))}: {problem}" for n, (way, problem) in zip(at, wrong))
        raise ValueError("\n".join(told))
    return paper


def read_papers(folder: Path = GRIDS / "papers") -> list[Paper]:
    """A folder's papers, the earliest first, checked against all grids. Raises `ValueError` as `read_paper` does."""
    runs = [run for path in GRIDS.glob("*.yaml") for run in read_grid(path)]
    return sorted((read_paper(path, runs) for path in sorted(folder.glob("*.yaml"))), key=lambda paper: paper.arxiv)


def _lines(node: yaml.Node | None, way: Way = ()) -> Iterator[tuple[Way, int]]:
    """The ways to all that is in a file, each with its line."""
    steps = []
    if isinstance(node, yaml.MappingNode):
        steps = [(key.value, key, value) for key, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        steps = [(i, item, item) for i, item in enumerate(node.value)]
    for step, start, inside in steps:
        yield (*way, step), start.start_mark.line + 1
        yield from _lines(inside, (*way, step))


def _unknown(paper: Paper, runs: Sequence[Run]) -> Iterator[tuple[Way, str]]:
    """The ways to names of what is nowhere, and the nearest name of what is somewhere."""
    for way, names, known, what in _names(paper, runs):
        for step, name in names.items() if isinstance(names, dict) else enumerate(names):
            if name not in known:
                near = get_close_matches(name, known, 1)
                yield (*way, step), f"no {what} is named {name!r}" + (f"; is {near[0]!r} meant?" if near else "")


def _names(paper: Paper, runs: Sequence[Run]) -> Iterator[tuple[Way, dict | list, Collection[str], str]]:
    """Names of what stands elsewhere: the way to them, they by key or position, the names that there are, and of what."""
    frozen, benchmarks = paper.frozen, {benchmark for table in paper.tables for benchmark in table.benchmarks}
    sections, methods = {run.variant.rpartition("-")[0] for run in runs}, {*TITLES, *(frozen.rows if frozen else ())}

    def keys(of: dict) -> dict:
        return dict(zip(of, of))

    yield ("training_problems",), keys(paper.training_problems), benchmarks, "benchmark of a table"
    yield ("sections",), keys(paper.sections), sections, "section of a grid"
    for name, section in paper.sections.items():
        here = {benchmark for table in paper.tables if table.model == section.model for benchmark in table.benchmarks}
        yield ("sections", name), {"benchmark": section.benchmark} if section.benchmark else {}, here, "benchmark of its model"
    kinds: list[tuple[Way, Table, Collection[str]]] = [(("tables", i), table, methods) for i, table in enumerate(paper.tables)]
    for way, table, rows in kinds + [(("studies", i), study, study.rows) for i, study in enumerate(paper.studies)]:
        yield (*way, "numbers"), keys(table.numbers), rows, "row"
        for row, numbers in table.numbers.items():
            yield (*way, "numbers", row), keys(numbers), table.benchmarks, "benchmark of this table"
    for i, study in enumerate(paper.studies):
        yield ("studies", i, "rows"), keys(study.rows), {run.variant for run in runs}, "run of a grid"
        yield ("studies", i, "measures"), study.measures, MEASURES, "measure"
        yield ("studies", i, "by_construction"), study.by_construction, study.measures, "measure of this study"
        for j, claim in enumerate(study.claims):
            yield ("studies", i, "claims", j), dict(first=claim.first, second=claim.second), study.rows, "row of this study"
    if frozen:
        yield ("frozen", "models"), frozen.models, {table.model for table in paper.tables}, "model of a table"
        yield ("frozen", "benchmarks"), frozen.benchmarks, benchmarks, "benchmark of a table"
        tasks = {f"{run.tier}/{run.variant.rpartition('-')[0]}" for run in runs}
        yield ("frozen", "readings"), keys(frozen.readings), {run.tier for run in runs} | tasks, "tier"
        for j, asked in enumerate(frozen.questions):
            yield ("frozen", "questions", j), dict(first=asked.first, second=asked.second), frozen.rows, "row"


PAPERS = read_papers()
SECTIONS = {name: section for paper in PAPERS for name, section in paper.sections.items()}
SOFTCOT = next(paper.frozen for paper in PAPERS if paper.frozen)


def paper_value(method: str, benchmark: str | None, model: str = "GPT-2", first: str = "") -> Quoted | None:
    """The number of the earliest paper that has one, after the paper named to be looked up first."""
    for paper in sorted(PAPERS, key=lambda paper: paper.name != first):
        for table in paper.tables:
            if table.model == model and (number := table.numbers.get(method, {}).get(benchmark or "")):
                return Quoted(number, paper.cite(table.where))
    return None


def beside(section: str, method: str) -> Quoted | None:
    """The number beside a row of one of our sections; the paper that has the section is looked up first."""
    found = ((paper.name, paper.sections[section]) for paper in PAPERS if section in paper.sections)
    return next((paper_value(method, table.benchmark, table.model, name) for name, table in found), None)
