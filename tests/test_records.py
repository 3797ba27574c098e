"""A record is whole or not there, carries its provenance, and is averaged only when it may be."""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest
import torch

from latent_runs import records
from latent_runs.results import load_results

FIELDS = {
    "parameters": {"method": "cot", "seed": 3, "run": {"tier": "small"}},
    "metrics": {"accuracy": 0.5},
    "n_evaluated": 100,
    "wall_seconds": 1.5,
    "model_fingerprint": "m",
    "data_fingerprint": "d",
    "started": "2026-01-01T00:00:00+00:00",
}


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "git_state", lambda: {"commit": "c0ffee", "dirty": False})
    return tmp_path / "02_explicit_baselines" / "arithmetic-cot--s3" / "result.json"


def test_record_says_where_its_numbers_come_from(path):
    record = records.write_result(path, **FIELDS)
    assert record == json.loads(path.read_text())
    assert (record["notebook"], record["variant"], record["seed"]) == ("02_explicit_baselines", "arithmetic-cot", 3)
    assert (record["tier"], record["status"], record["schema_version"]) == ("small", "complete", records.SCHEMA_VERSION)
    assert {"python", "torch", "transformers"} <= set(record["versions"])
    assert set(record["device"]) == {"name", "gpus", "cores", "threads"}


def test_numpy_and_torch_scalars_and_inner_paths_are_written(path):
    inside = str(records.ROOT / "papermill_runs" / "x")
    parameters = FIELDS["parameters"] | {"run": {"init_from": inside}}
    record = records.write_result(path, **FIELDS | {"metrics": {"loss": torch.tensor(2.0)}, "parameters": parameters})
    assert json.loads(path.read_text())["metrics"]["loss"] == 2.0
    assert record["parameters"]["run"]["init_from"] == "papermill_runs/x"


@pytest.mark.parametrize("change", [{"metrics": {"loss": float("nan")}}, {"status": "fine"}])
def test_nan_and_bad_status_are_refused(path, change):
    with pytest.raises(ValueError):
        records.write_result(path, **FIELDS | change)
    assert not path.exists()


def test_missing_and_unknown_fields_are_named(path):
    with pytest.raises(TypeError, match=r"missing fields \['metrics'\], unknown fields \['metric'\]"):
        records.write_result(path, **{k: v for k, v in FIELDS.items() if k != "metrics"}, metric={})


@pytest.mark.parametrize("old", [None, "old"])
def test_full_disk_leaves_the_old_record_or_none(path, monkeypatch, old):
    path.parent.mkdir(parents=True)
    if old:
        path.write_text(old)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        records.write_atomic(path, "new")
    assert [item.read_text() for item in path.parent.iterdir()] == ([old] if old else [])


def test_kill_in_mid_write_leaves_the_old_record(path):
    path.parent.mkdir(parents=True)
    path.write_text("old")
    code = "import os, signal, sys; from latent_runs import records; "
    code += "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL); records.write_atomic(sys.argv[1], 'new')"
    environment = os.environ | {"PYTHONPATH": str(records.ROOT / "lib")}
    assert subprocess.run([sys.executable, "-c", code, path], env=environment).returncode == -signal.SIGKILL
    assert path.read_text() == "old"


def test_results_are_flat_and_trust_is_told_apart(path, tmp_path, monkeypatch):
    records.write_result(path, **FIELDS)
    records.write_result(path.parents[1] / "b--s0" / "result.json", **FIELDS, status="smoke")
    monkeypatch.setattr(records, "git_state", lambda: {"commit": "c0ffee", "dirty": True})
    records.write_result(path.parents[1] / "c--s0" / "result.json", **FIELDS)
    monkeypatch.setattr(records, "git_state", lambda: None)
    records.write_result(path.parents[1] / "d--s0" / "result.json", **FIELDS)
    table = load_results(tmp_path).set_index("variant")
    assert table["trusted"].to_dict() == {"arithmetic-cot": True, "b": False, "c": False, "d": True}
    assert table.loc["b", "status"] == "smoke"
    assert table.loc["arithmetic-cot", "id"] == "02_explicit_baselines/arithmetic-cot--s3"
    assert table.loc["arithmetic-cot", ["parameters.method", "metrics.accuracy"]].tolist() == ["cot", 0.5]


@pytest.mark.parametrize("text", ['{"schema_version": 1, "noteb', "[]", '{"schema_version": 99}', ""])
def test_corrupt_record_is_an_error_that_names_it(path, tmp_path, text):
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(ValueError, match=str(path)):
        load_results(tmp_path)


def edited(record, *names, value):
    """The record with one field set, as by hand."""
    *path, last = names
    inner = record
    for name in path:
        inner = inner[name]
    inner[last] = value
    return record


@pytest.mark.parametrize(
    ("names", "value"),
    [
        (["metrics", "accuracy"], 0.51),
        (["seed"], 4),
        (["status"], "smoke"),
        (["git", "dirty"], True),
        (["digest"], "0" * 64),
        (["parameters", "method"], "codi"),
        (["note"], "by hand"),
    ],
)
def test_a_record_edited_by_hand_is_an_error_that_names_it(path, tmp_path, names, value):
    record = records.write_result(path, **FIELDS)
    path.write_text(json.dumps(edited(record, *names, value=value)))
    with pytest.raises(ValueError, match=rf"{path} was changed since its run wrote it.*run it again") as error:
        load_results(tmp_path)
    assert "\n" not in str(error.value)


def test_layout_is_no_edit_and_old_records_have_no_digest(path, tmp_path):
    record = records.write_result(path, **FIELDS)
    (before,) = load_results(tmp_path).to_dict("records")
    assert "digest" not in before and before["trusted"]
    path.write_text(json.dumps(dict(reversed(record.items())), indent=8))
    assert load_results(tmp_path).to_dict("records") == [before]
    path.write_text(json.dumps({name: value for name, value in record.items() if name != "digest"}))
    assert load_results(tmp_path).to_dict("records") == [before]


def test_the_run_that_one_starts_from_is_known_by_its_old_name_too(path, tmp_path):
    """Records of before the group `run` have `init_from` among the parameters."""
    for name, parameters in {"new": {"run": {"init_from": "x/a"}}, "old": {"init_from": "x/b"}, "none": {"run": {}}}.items():
        records.write_result(path.parents[1] / f"{name}--s0" / "result.json", **FIELDS | {"parameters": parameters})
    table = load_results(tmp_path).set_index("variant")
    assert table["starts_from"].to_dict() == {"new": "x/a", "old": "x/b", "none": ""}


def test_no_records_is_an_empty_table(tmp_path):
    assert load_results(tmp_path).empty
    assert "trusted" in load_results(tmp_path / "missing")


def test_git_state_is_none_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "ROOT", tmp_path)
    assert records.git_state() is None


def test_fingerprint_sees_every_bit_and_no_order():
    state = {"w": torch.zeros(2, 3), "b": torch.zeros((), dtype=torch.bfloat16)}
    same = records.fingerprint_state_dict(dict(reversed(state.items())))
    assert records.fingerprint_state_dict(state) == same
    assert records.fingerprint_state_dict(state | {"w": torch.zeros(3, 2)}) != same
    state["w"][0, 0] = 1e-30
    assert records.fingerprint_state_dict(state) != same
