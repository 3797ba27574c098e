"""A run's key: what a run depends on ages it, and nothing else does."""

import ast
import json
import shutil

import pytest

from latent_runs import keys, results
from latent_runs.cells import PARAMETERS as OWN
from latent_runs.cells import RUN, headless, tags
from latent_runs.lesson import Lesson
from latent_runs.notebooks import run_notebook
from latent_runs.places import NOTEBOOKS, ROOT
from latent_runs.records import REQUIRED, git_state, write_result
from latent_runs.settings import typed_parameters
from latent_tasks import GENERATED

ROWS = {  # a row of every kind: its notebook and method
    "cot": ("02_explicit_baselines", "cot"),
    "icot": ("02_explicit_baselines", "icot"),
    "coconut": ("03_coconut_stages", "coconut"),
    "codi": ("04_codi_self_distillation", "codi"),
    "softcot": ("05_softcot_projector", "softcot"),
    "beta": ("07_ablations", ""),
    "colar": ("09_own_method", "colar"),
    "soft_thinking": ("09_own_method", "soft_thinking"),
    "machine": ("10_one_gpu", ""),  # which trains by every method
}


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    folder = tmp_path_factory.mktemp("copied")
    for part in ("lib", "notebooks"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "images", ".*"))
    return folder


@pytest.fixture
def copy(copied, monkeypatch):
    """A copy of the code, whose keys are asked for; what a test changes there is undone."""
    monkeypatch.setattr(keys, "LIB", copied / "lib")
    yield copied
    for path in [*copied.rglob("*.py"), *copied.rglob("*.ipynb")]:
        if path.read_bytes() != (old := ROOT / path.relative_to(copied)).read_bytes():
            shutil.copyfile(old, path)


def all_keys(copy) -> dict[str, str]:
    told = {name: {"method": method} if method else {} for name, (_, method) in ROWS.items()}
    return {name: keys.inputs_key(copy / "notebooks" / f"{book}.ipynb", told[name]) for name, (book, _) in ROWS.items()}


def touch(path, name: str) -> None:
    """One more statement in a function, or in a class."""
    text = path.read_text()
    [node] = [node for node in ast.parse(text).body if getattr(node, "name", None) == name]
    last, lines = node.body[-1], text.splitlines()
    at = min([last.lineno, *(one.lineno for one in getattr(last, "decorator_list", ()))]) - 1
    path.write_text("\n".join([*lines[:at], " " * last.col_offset + "one_more = 1", *lines[at:]]) + "\n")


@pytest.mark.parametrize(
    ("module", "name", "whose"),
    [
        ("latent_cot/losses", "distillation_loss", {"codi", "beta", "machine"}),
        ("latent_cot/methods/codi", "supervise_codi", {"codi", "beta", "machine"}),
        ("latent_cot/methods/codi", "codi", {"codi", "beta", "machine"}),
        ("latent_cot/methods/colar", "supervise_colar", {"colar", "machine"}),
        ("latent_cot/methods/colar", "LatentHead", {"colar", "machine"}),
        ("latent_cot/methods/softcot", "Assistant", {"softcot"}),
        ("latent_cot/methods/soft_thinking", "Mixture", {"soft_thinking", "machine"}),
        ("latent_cot/methods/coconut", "coconut", {"coconut", "softcot", "machine"}),  # lesson 05 has a row of Coconut
        ("latent_probes/planning", "k_sweep", {"cot", "icot", "coconut"}),  # asked in lessons 02 and 03
        ("latent_probes/planning", "classify", {"cot", "icot", "coconut"}),  # which they do not name themselves
        ("latent_cot/losses", "language_loss", {*ROWS}),
        ("latent_cot/simcot", "step_loss", {*ROWS}),
        ("latent_runs/lesson", "Lesson", {*ROWS}),
        ("latent_runs/groups", "Data", {*ROWS}),
        ("latent_tasks/arithmetic", "arithmetic", {*ROWS}),
        ("latent_costs/smoke", "compare", {"machine"}),
    ],
)
def test_code_ages_the_runs_that_reach_it(copy, module, name, whose):
    before = all_keys(copy)
    touch(copy / "lib" / f"{module}.py", name)
    after = all_keys(copy)
    assert {row for row in ROWS if after[row] != before[row]} == whose


@pytest.mark.parametrize(
    ("module", "name", "whose"),
    [
        ("deduction", "chains", {"prontoqa-mini", "prontoqa-generated"}),
        ("parity", "parity", {"parity"}),
        ("arithmetic", "arithmetic", {"arithmetic", "names"}),  # the latter is made of the former
        ("graphs", "symbolic", {*GENERATED}),  # whose frontier lessons ask for
        ("__init__", "load_task", {*GENERATED}),
    ],
)
def test_a_task_ages_the_runs_that_name_it(copy, module, name, whose):
    def all_tasks():
        return {task: keys.inputs_key(copy / "notebooks" / "02_explicit_baselines.ipynb", {"task": task}) for task in GENERATED}

    before = all_tasks()
    touch(copy / "lib" / "latent_tasks" / f"{module}.py", name)
    after = all_tasks()
    assert {task for task in GENERATED if after[task] != before[task]} == whose


def test_what_only_a_reader_needs_ages_nothing(copy):
    """Prose, exercises, figures, proofs by hand, comments, docstrings, layout, titles; modules that no run imports."""
    before = all_keys(copy)
    for path in (copy / "notebooks").glob("*.ipynb"):
        book = json.loads(path.read_text())
        if any(RUN in tags(cell) for cell in book["cells"]):
            for cell in book["cells"]:
                if cell["cell_type"] == "markdown" or not {RUN, OWN} & {*tags(cell)}:
                    cell["source"] = [*cell["source"], "\nprint('another')"]
                else:
                    cell["source"] = [*cell["source"], "  # a comment"]
        path.write_text(json.dumps(book))
    for path in (copy / "lib").rglob("*.py"):
        text = path.read_text()
        if path.parent.name in ("latent_views", "latent_reports"):
            text += "\nprint('another')\n"
        nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)]
        for said in filter(None, (ast.get_docstring(node, clean=False) for node in nodes)):
            text = text.replace(said, f"Other words. {said}")
        path.write_text(f"# a comment\n\n{text}".replace('@method("CODI"', '@method("Our CODI"'))
    assert all_keys(copy) == before


def test_parameters_count_as_the_run_has_them(copy):
    """Not how they are written: a default that is given, a group's field by dotted name, another place to run in."""
    def key(**told):
        return keys.inputs_key("03_coconut_stages", told)

    assert key() == key(steps=1000) == key(run={"dir": "/elsewhere"}) != key(steps=999)
    assert key(**{"model.n_layers": 2}) == key(model={"n_layers": 2}) != key(model={"n_layers": 3})
    told = {name: one.value for name, one in typed_parameters("03_coconut_stages").items()}
    assert Lesson("03_coconut_stages", told)._key == key(), "what a record says is what a grid asks for"


def leave(folder, key: str = "", git=None, **changed):
    """A record of lesson 02's CoT, changed."""
    fields = dict.fromkeys(REQUIRED, "a") | {"metrics": {}, "n_evaluated": 1, "wall_seconds": 1.0, "parameters": {}}
    write_result(folder / "result.json", **fields | {"notebook": "02_explicit_baselines", "key": key} | changed)
    if git is not None:
        path = folder / "result.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"git": git}))


def test_of_its_parent_a_run_needs_weights_and_data(tmp_path):
    parent, child = (tmp_path / "02_explicit_baselines" / name for name in ("a--s0", "b--s0"))

    def key():
        return keys.inputs_key("02_explicit_baselines", {"run.init_from": str(parent)})

    leave(parent)
    before = key()
    leave(parent, wall_seconds=99.0, metrics={"accuracy": 0.5}, key="another")
    assert key() == before == keys.inputs_key("02_explicit_baselines", {"run.init_from": str(parent)}, child)
    for name in ("model_fingerprint", "data_fingerprint"):
        leave(parent, **{name: "b"})
        assert key() != before


def test_a_record_says_whether_todays_code_makes_it(tmp_path, monkeypatch):
    commit = (git_state() or {}).get("commit", "0" * 40)
    monkeypatch.setattr(results, "known_commits", lambda: frozenset([commit]))
    parent, child = (tmp_path / "02_explicit_baselines" / name for name in ("a--s0", "b--s0"))
    known, unknown = ({"commit": one, "dirty": False} for one in (commit, "f" * 40))
    own = keys.inputs_key("02_explicit_baselines", {})
    for key, git, said in [(own, known, "same key"), (own, unknown, "same key"), ("", known, "older code"),
                           ("old", known, "older code"), ("old", unknown, "unknown commit"), ("old", {}, "unknown commit")]:
        leave(parent, key, git)
        assert results.code_of(parent) == said
    told = {"run": {"init_from": "papermill_runs/tiny/02_explicit_baselines/a--s0"}}  # of another machine
    leave(parent, own, known)
    leave(child, keys.inputs_key("02_explicit_baselines", told, child), known, parameters=told)
    assert results.code_of(child) == "same key"
    leave(parent, "old", known)
    assert results.code_of(child) == "older code", "what it starts from would not be made again"


def test_a_run_executes_what_is_tagged(notebook, tmp_path):
    """By papermill and without it; a notebook without tags whole."""
    path = notebook("tagged", 'where: str = ""', "print('left out')", "from pathlib import Path\nPath(where).write_text('ran')")
    book = json.loads(path.read_text())
    for cells, tagged in ((3, False), (2, True)):
        book["cells"][2]["metadata"]["tags"] = [RUN] if tagged else []
        path.write_text(json.dumps(book))
        assert len(headless(path)["cells"]) == cells and len(headless(path, every_cell=True)["cells"]) == 3
    executed = run_notebook(path, tmp_path / "out", {"where": str(tmp_path / "there")})
    assert (tmp_path / "there").read_text() == "ran" and "left out" not in executed.read_text()
    everything = run_notebook(path, tmp_path / "all", {"where": str(tmp_path / "there")}, every_cell=True)
    assert "left out" in everything.read_text()


@pytest.mark.parametrize("book", sorted({book for book, _ in ROWS.values()}))
def test_cells_that_are_run_need_no_others(book):
    """Every name that a tagged cell speaks and that a cell of the notebook makes is made by a tagged one."""

    def made(cells):
        nodes = [node for cell in cells for node in ast.walk(ast.parse("".join(cell["source"])))]
        names = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        names |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        names |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        aliases = [alias for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]
        return names | {alias.asname or alias.name for alias in aliases}

    path = NOTEBOOKS / f"{book}.ipynb"
    cells, everything = headless(path)["cells"], headless(path, every_cell=True)["cells"]
    assert len(cells) < len(everything)
    spoken = {node.id for cell in cells for node in ast.walk(ast.parse("".join(cell["source"]))) if isinstance(node, ast.Name)}
    assert spoken & made(everything) <= made(cells)
    assert not {"plots", "display"} & spoken, "what is shown is for a reader"
    assert "record" in "".join(cells[-1]["source"])
