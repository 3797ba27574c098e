"""How notebooks are compared (nbval), and how tests are spread over processes (`-n 2 --dist loadgroup`)."""

import os

import pytest

RICH_OUTPUT = ("text/latex", "application/vnd.jupyter.widget-view+json", "stderr")


def pytest_configure(config):
    """Kernels and commands that tests start find what the tests find; a path that holds the separator of PYTHONPATH is
    written as seen from here and from the notebooks."""
    found = [str(path) for path in config.getini("pythonpath")]
    near = [os.path.relpath(path) for path in found]
    odd = os.pathsep in "".join(found)
    ours = [*near, *(f"../{path}" for path in near)] if odd else found
    others = filter(None, [os.environ.get("PYTHONPATH")])  # where there is no environment of one's own: a pack's libraries
    os.environ["PYTHONPATH"] = os.pathsep.join([*ours, *others])


def pytest_collectstart(collector):
    """nbval compares what cells say, not how it is drawn (the sanitizer takes tags and styles out of HTML), nor warnings."""
    if collector.path.suffix == ".ipynb" and hasattr(collector, "skip_compare"):
        collector.skip_compare += RICH_OUTPUT


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """One process for a notebook's cells, which share a kernel, and for a file's tests; smoke runs share nothing."""
    for item in items:
        if "smoke" not in item.keywords:
            item.add_marker(pytest.mark.xdist_group(str(item.path)))
