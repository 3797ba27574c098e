"""Times that can be compared: in turn, warm, in one process, and each of the very model that its record is of."""

import json

import pytest
from test_report import load_table, write

from latent_costs import latency
from latent_cot.models import ReasonerSpec, build_reasoner, save_reasoner
from latent_runs.records import fingerprint_state_dict
from latent_runs.results import MODEL
from latent_runs.timing import interleaved
from latent_tasks import load_task


def test_ways_take_turns_and_none_is_always_behind_the_same():
    calls = []
    found = interleaved({name: lambda i, name=name: calls.append((name, i)) for name in "abc"}, n=3, repeats=2)
    assert calls[:3] == [("a", 0), ("b", 0), ("c", 0)], "warm, and untimed"
    rounds = [calls[k : k + 3] for k in range(3, len(calls), 3)]
    assert [{i for _, i in one} for one in rounds] == [{0}, {1}, {2}] * 2, "each question to all, before the next"
    assert {one[0][0] for one in rounds} == {*"abc"} and all({name for name, _ in one} == {*"abc"} for one in rounds)
    assert all(of["n"] == 6 and of["low"] <= of["median"] <= of["high"] for of in found.values())


def test_the_median_is_not_moved_by_a_stutter(monkeypatch):
    clock, stutter = [0.0], [0]

    def way(_):
        stutter[0] += 1
        clock[0] += 5.0 if stutter[0] == 3 else 0.01

    monkeypatch.setattr("latent_runs.timing.time.perf_counter", lambda: clock[0])
    assert interleaved({"a": way}, n=5)["a"]["median"] == pytest.approx(0.01)


def test_every_trained_model_of_a_tier_is_timed(trained_tier, capsys):
    folder, names = trained_tier
    measured = latency.measure(folder / "tiny", alone=3, at_once=4, repeats=2)
    assert {*measured["runs"]} == names, "the smoke run, the one without weights and those of unknown methods are not"
    assert "not timed: 02_x/own-mine--s0: " in capsys.readouterr().err
    for seconds in measured["runs"].values():
        assert 0 < seconds["batched"]["median"] < seconds["alone"]["median"] and seconds["alone"]["n"] == 6
    slow, quick = (next(v for name, v in measured["runs"].items() if f"-{of}--" in name) for of in ("cot", "no_cot"))
    assert slow["alone"]["median"] > quick["alone"]["median"], "a chain takes longer than an answer at once"
    (folder / "tiny" / "latency.json").write_text(json.dumps(measured))
    assert load_table(folder)["latency.alone.median"].notna().sum() == len(names)
    for path in (folder / "tiny").rglob(MODEL):
        path.unlink()
    assert latency.measure(folder / "tiny")["runs"] == {}


@pytest.fixture
def trained_tier(tmp_path):
    """Runs with random weights: two to be timed, one in short, one whose weights are gone, and two of a notebook of somebody's
    own: its method is not registered, or not named."""
    words = load_task("arithmetic", sizes={"test": 1}).words
    for variant, name, change in (
        ("x-cot", "cot", {}),
        ("x-no_cot", "no_cot", {}),
        ("y-cot", "cot", {"status": "smoke"}),
        ("z-cot", "cot", {}),
        ("own-mine", "mine", {}),
        ("own-nameless", "", {}),
    ):
        options = {"max_new_tokens": 24 if name == "cot" else 4}
        parameters = {"method": name, "task": "arithmetic", "options": {}, "data": options, "model": {}} if name else {}
        reasoner = build_reasoner(ReasonerSpec(writer="nobody", words=words))
        path = write(
            tmp_path, variant, parameters=parameters, model_fingerprint=fingerprint_state_dict(reasoner.state_dict()), **change
        )
        if variant != "z-cot":
            save_reasoner(reasoner, path.parent)
    return tmp_path, {"02_x/x-cot--s0", "02_x/x-no_cot--s0"}
