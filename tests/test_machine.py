"""Lesson 10's tables: what was measured of a machine is shown as it was measured, and enters no table of methods."""

import pytest
import torch
from test_report import write

from latent_costs import smoke
from latent_costs.smoke import Step, compare
from latent_reports.machine import machine_sections
from latent_reports.tables import build_sections, load_table
from latent_runs.plan import grid_path, read_grid

SPEED = [
    {"what": "CoT training", "precision": "bf16", "examples_per_second": 2000.0, "tokens_per_second": 150_000.0,
     "gflop_per_second": 1e5, "share_of_peak": 0.25},
]  # fmt: skip
AGREEMENT = [
    {"method": "cot", "precision": "fp32", "difference": 1e-6, "allowed": True},
    {"method": "cot", "precision": "bf16", "difference": 2e-3, "allowed": True},
    {"method": "codi", "precision": "fp32", "difference": 2e-6, "allowed": True},
    {"method": "codi", "precision": "bf16", "difference": 0.5, "allowed": False},
]
MEMORY = [{"run": "gsm8k-cot", "measured": 30.25, "estimated": 31.0}]


@pytest.fixture
def records(tmp_path):
    def put(**metrics):
        versions = {"versions": {"torch": "2.11.0"}, "notebook": "10_one_gpu", "tier": "gpu"}
        write(tmp_path, "smoke", extra=metrics, **versions)
        return load_table(tmp_path)

    return put


def test_what_was_measured_is_shown(records):
    measured = {"agreement": AGREEMENT, "memory": MEMORY, "speed": SPEED, "parity": "48 passed in 9 s"}
    found = records(**measured, peak_gflop_per_second={"bf16": 4e5})
    speed, agreement, memory = machine_sections(found)
    (row,) = speed.table.to_dict("records")
    assert (row["examples/s"], row["tokens/s"], row["ms/example"], row["of the peak"]) == ("2,000.0", "150,000", "0.5", "25%")
    assert "400.0 TFLOP/s in bf16" in speed.notes[0] and "cpu & co; torch 2.11.0; commit c0ffee0" in speed.notes[-1]
    assert agreement.table.set_index("method").bf16.to_dict() == {"cot": "2.0e-03", "codi": "5.0e-01"}
    assert "beyond it: codi in bf16." in agreement.notes[0] and "48 passed in 9 s" in agreement.notes[1]
    assert memory.table.to_dict("records") == [{"run": "gsm8k-cot", "measured": "30.2", "estimated": "31.0"}]


def test_a_machine_is_no_row_among_methods(records):
    found = records(agreement=AGREEMENT)
    sections = build_sections(found, read_grid(grid_path("gpu")))
    assert {section.name for section in sections} == {"gsm8k", "prosqa", "graph3", "words", "words_last_dropped", "arithmetic"}
    assert not any("smoke" in str(section.table) for section in sections)
    assert [section.title for section in machine_sections(found)] == ["Does it compute what a CPU computes? (tier gpu)"]


def test_a_device_that_computes_otherwise_is_found_out(monkeypatch):
    """A device whose losses are off by two percent, in fp32 and in bf16."""
    true = smoke.step
    assert all(row["allowed"] for row in compare("cpu", ["coconut"]))

    def off(name: str, device: str, precision: str) -> Step:
        found = true(name, "cpu", precision)
        return found if device == "cpu" else Step(found.loss * 1.02, found.gradient, found.after)

    monkeypatch.setattr(smoke, "step", off)
    assert [row["allowed"] for row in compare("odd", ["coconut"])] == [False, False]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_memory_is_not_measured_without_a_gpu():
    with pytest.raises(RuntimeError, match="measured on a GPU"):
        smoke.peak(read_grid(grid_path("gpu"))[2])
