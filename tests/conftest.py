"""Options and fixtures that all tests share."""

import os
from pathlib import Path

import pytest

# Before torch: the tests run side by side, and a process forked from one in which OpenMP had threads would hang.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_addoption(parser):
    """`--golden DIR`: golden cases of the official code to check against; `--device`: where."""
    default = Path(__file__).parent / "golden"
    parser.addoption("--golden", type=Path, default=default, metavar="DIR", help="golden cases (default: tests/golden)")
    parser.addoption("--device", default="cpu", help="where the golden cases are computed (default: cpu)")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the real datasets; a test that needs it is skipped without it."""
    folder = os.environ.get("LATENT_COT_DATA")
    if not folder:
        pytest.skip("LATENT_COT_DATA is not set: no real datasets here")
    return Path(folder)


@pytest.fixture
def notebook(tmp_path):
    """A function that writes a notebook: `notebook("name", parameters_source, *other_sources)`."""
    import nbformat

    def write(name: str, parameters: str, *sources: str) -> Path:
        cells = [nbformat.v4.new_code_cell(source) for source in (parameters, *sources)]
        cells[0].metadata["tags"] = ["parameters"]
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
        return path

    return write
