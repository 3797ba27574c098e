"""A clone runs in a folder of any name, with temporary files in a folder of any name, and never with another one's code."""

import json
import os
import subprocess
import sys

import pytest
from test_grid import BODY, GRID, PARAMETERS, REPORT, Checkout

from latent_runs import notebooks, plan
from latent_runs.places import ROOT

ODD = "my clone é #1: x {y} 'z' $HOME"


@pytest.fixture
def clone(tmp_path, notebook):
    """A function: a checkout of the machinery, with toy notebooks, in a folder of that name."""

    def make(name: str) -> Checkout:
        body = BODY.replace("PREFIX", repr(sys.prefix))
        body = body.replace('"own_kernel"', '"code": str(Path(places.__file__).resolve()), "own_kernel"')
        notebook("toy", PARAMETERS, f"from latent_runs import places\n{body}")
        notebook("08_paper_tables", 'records_dir: str = ""\nout_dir: str = ""\nreadme: str = ""', REPORT)
        root = tmp_path / name
        root.mkdir()
        (tmp_path / "notebooks").rename(root / "notebooks")
        return Checkout(root)

    return make


def test_a_clone_in_a_folder_of_any_name(clone):
    """`make tables` and `make report`, with a parameter that is no plain text either."""
    checkout, told = clone(ODD), 'a #1: "b"\n\'é\' {c} $d'
    (checkout.runs / "toy.yaml").write_text(GRID.replace("task: c", f"task: {json.dumps(told)}"))
    (checkout.runs / "recorded" / "report").mkdir(parents=True)
    (checkout.root / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    (checkout.root / "requirements.lock").touch()
    os.utime(checkout.root / "requirements.lock", (0, 0))  # installs nothing
    here = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for target in ("tables", "report"):
        command = ["make", f"VENV={sys.prefix}", "TIER=toy", "ONLY=*/alone*", target]
        done = subprocess.run(command, cwd=checkout.root, env=here, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((checkout.runs / "toy/toy/alone--s0/result.json").read_text())
    assert result["parameters"]["task"] == told and result["parameters"]["run"]["dir"] == "papermill_runs/toy/toy/alone--s0"
    assert result["metrics"]["code"] == str(checkout.root / "lib" / "latent_runs" / "places.py")
    assert (checkout.starts(), checkout.report()) == (["alone--s0 False None"], ["toy/alone--s0"])
    assert (checkout.runs / "recorded" / "report" / "report.md").exists()


def test_temporary_files_in_a_folder_with_a_long_name(clone):
    checkout = clone("plain")
    checkout.environment["TMPDIR"] = str(checkout.root / ("t" * 100))
    os.mkdir(checkout.environment["TMPDIR"])
    status, output = checkout.call("run", "toy", "--out", "out/toy/x--s0")
    assert status == 0, output


def test_without_any_short_name_kernels_are_talked_to_by_tcp(notebook, tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "SOCKET_FOLDER", 0)
    path = notebook("where", "", "from ipykernel.connect import get_connection_info\nprint(get_connection_info())")
    executed = notebooks.run_notebook(path, tmp_path / "out")
    assert r"\"transport\": \"tcp\"" in executed.read_text()


def test_the_code_of_another_clone_is_not_run(clone):
    """Neither by a command in this one, nor in a kernel of an environment where the other is what is installed."""
    here, there = clone("here"), clone("there")
    here.environment["PYTHONPATH"] = str(there.root / "lib")
    out = here.root / "out" / "toy" / "x--s0"
    status, output = here.call("run", "toy", "--out", str(out))
    assert status == 1 and not out.exists()
    assert output.count("\n") == 1 and f"not of {here.root}: use `make`, or set PYTHONPATH to {here.root / 'lib'}" in output

    code = "import sys; sys.path.insert(0, sys.argv[1])\nfrom latent_runs.grid import main\nsys.exit(main(sys.argv[2:]))"
    command = [sys.executable, "-c", code, str(here.root / "lib"), "run", "toy", "--out", str(out)]
    done = subprocess.run(command, cwd=here.root, env=here.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "result.json").read_text())["metrics"]["code"] == str(here.root / "lib/latent_runs/places.py")


def test_a_kernel_that_imports_another_clone_refuses(clone):
    """Whatever puts it before PYTHONPATH: here the notebook itself."""
    here, there = clone("here"), clone("there")
    path = here.root / "notebooks" / "toy.ipynb"
    book = json.loads(path.read_text())
    first = book["cells"][1]
    first["source"] = f"import sys; sys.path.insert(0, {str(there.root / 'lib')!r})\n{''.join(first['source'])}"
    path.write_text(json.dumps(book))
    out = here.root / "out" / "toy" / "x--s0"
    status, output = here.call("run", "toy", "--out", str(out))
    assert status == 1 and not (out / "result.json").exists()
    assert f"not of {here.root}: use `make`" in output and "Traceback" not in output


@pytest.mark.parametrize("value", ["a #1", "a: b", "é", '"q"', "a\nb", "{x}", "[", "'", " ", "", "null", "1e-3", "yes", None,
                                   True, 1, 1e-3, 1e-12, [1, "a: b"], {"a #": {"b": None}}])  # fmt: skip
def test_what_the_grid_says_is_what_a_run_is_told(value):
    assert plan.parse_value(json.dumps(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [("/tmp/a #1: x/é", "/tmp/a #1: x/é"), ("a: b", "a: b"), ("", ""), ("1e-3", 1e-3), ("[1, a]", [1, "a"]), ("~", None),
     ("{n_steps: [2, 4]}", {"n_steps": [2, 4]}), ("!epochs [2, 6, 3]", 4), ("'x'", "x"), ("###", "###"), ("true", True),
     ("The answer is:", "The answer is:")],
)  # fmt: skip
def test_what_a_person_types(text, value):
    assert plan.parse_value(text) == value


def test_a_list_cut_short_is_one_line():
    with pytest.raises(ValueError, match=r"^'\[1, 2' is no YAML: .*expected"):
        plan.parse_value("[1, 2")
