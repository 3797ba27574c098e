"""What CONTRIBUTING.md tells a contributor to do is done here, to the letter, on a copy of the repository."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from latent_runs.places import ROOT

LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv", "__pycache__", ".*_cache", ".snakemake", "tiny", "small")


@pytest.fixture
def copy(tmp_path):
    """The working tree, committed, without anybody's runs, in a folder whose name would say something to YAML."""
    root = tmp_path / "my clone é #1: x"
    shutil.copytree(ROOT, root, ignore=LEFT_BEHIND)
    shutil.copytree(ROOT / "papermill_runs" / "recorded", root / "papermill_runs" / "recorded", dirs_exist_ok=True)
    os.utime(root / "requirements.lock", (0, 0))  # `make` installs nothing
    for command in ("init -q", "config user.name me", "config user.email me@example.org", "add -A", "commit -q -m start"):
        subprocess.run(["git", *command.split()], cwd=root, check=True)
    return root


def test_a_method_added_by_the_book_is_in_the_report(copy):
    section = re.search(r"## Add a method\n(.*?)\n## ", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)[1]
    blocks = re.findall(r"```(python|bash)\n(.*?)```", section, re.DOTALL)
    assert {language for language, _ in blocks} == {"python", "bash"}
    here = {name: value for name, value in os.environ.items() if name not in ("LATENT_COT_BUDGET", "PYTHONPATH")}
    for language, text in blocks:
        if language == "python":  # its first line says which file this is
            (copy / text.partition("\n")[0].removeprefix("# ")).write_text(text.partition("\n")[2])
        else:
            python, folder = map(shlex.quote, (sys.executable, sys.prefix))
            commands = text.replace(".venv/bin/python", python).replace("make ", f"make VENV={folder} ")
            done = subprocess.run(["bash", "-ec", commands], cwd=copy, env=here, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    report = (copy / "papermill_runs" / "tiny" / "report" / "report.md").read_text()
    assert re.search(r"^\| Numbered pauses \| \d+\.\d \|", report, re.MULTILINE), report
