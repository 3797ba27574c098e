"""What a lesson may be told, and what it makes of it: wrong parameters stop before a kernel starts, or in its first cell."""

import json
import re
from dataclasses import fields

import papermill
import pytest
import torch
from test_grid import PARAMETERS

from latent_cot.curriculum import Budget
from latent_cot.methods import METHODS
from latent_cot.models import load_reasoner
from latent_cot.training import TrainOptions
from latent_runs.groups import GROUPS, SYNONYMS
from latent_runs.keys import inputs_key
from latent_runs.lesson import SHARE, Lesson
from latent_runs.notebooks import run_notebook
from latent_runs.places import NOTEBOOKS
from latent_runs.records import read_parameters
from latent_runs.settings import check_parameters, classes_of, nested, typed_parameters

STEPS, STAGES, CODI = "02_explicit_baselines", "03_coconut_stages", "04_codi_self_distillation"
OWN, ABLATIONS = "09_own_method", "07_ablations"


@pytest.fixture
def toy(notebook):
    return notebook("toy", f'{PARAMETERS}kind: Literal["old", "new"] = "new"')


# --- plain parameters ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "good",
    [
        {"lr": 1, "seed": 3, "flag": True, "name": None, "sizes": [], "shares": {"x": 1}},
        {"name": "x", "sizes": [1], "lr": 0.5, "kind": "old"},
        {"run": {"budget": 1, "tier": "x"}},
        {"run.budget": 0.5, "run": {"tier": "x"}},
        {},
    ],
)
def test_good_parameters_pass(toy, good):
    check_parameters(toy, good)


@pytest.mark.parametrize(
    "bad",
    [
        {"sede": 1},
        {"seed": 1.0},
        {"seed": True},
        {"lr": True},
        {"lr": "1e-3"},
        {"flag": 1},
        {"task": None},
        {"name": 3},
        {"sizes": [1, "2"]},
        {"sizes": 1},
        {"shares": {"x": "y"}},
        {"shares": []},
        {"kind": "newer"},
        {"run": "x"},
        {"lr.x": 1},
    ],
)
def test_bad_parameters_stop_before_a_kernel_starts(toy, bad, tmp_path, monkeypatch):
    monkeypatch.setattr("papermill.execute_notebook", lambda *_, **__: pytest.fail("a kernel was started"))
    with pytest.raises(ValueError, match=r"It takes:\n  task: str = 'a'(\n.*)*seed: int = 0") as error:
        run_notebook(toy, tmp_path / "out", bad)
    assert next(iter(bad)).partition(".")[0] in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("lesson", "bad", "allowed"),
    [
        (STAGES, {"method": "pause_as_thougt"}, ["coconut", "no_curriculum", "no_thought", "pause_as_thought"]),
        (STAGES, {"options.mixing": "unifrom"}, ["none", "uniform", "improved"]),
        (STEPS, {"training.precision": "fp16"}, ["no", "bf16"]),
        (STEPS, {"training.schedule": "cosin"}, ["constant_with_warmup", "cosine", "linear"]),
        (STEPS, {"data.text": "line"}, ["lines", "joined"]),
        (CODI, {"options.distance": "l3"}, ["l1", "l2", "smooth_l1"]),
        (OWN, {"method": "cott"}, [*METHODS]),
        (OWN, {"method": "cott", "options.n_thoughts": 2}, [*METHODS]),
        (STEPS, {"model.writer": "pauze"}, ["pause", "hidden", "latent_head"]),
        (STEPS, {"task": "grahp"}, ["arithmetic", "graph", "gsm8k-aug", "data/mine"]),
        (STEPS, {"data.options": {"chain": "results only"}}, ["equations", "results", "operators", "sentences"]),
        (STEPS, {"task": "graph", "data.options": {"edge_tokens": 2}}, ["1 or 3"]),
        (STEPS, {"task": "graph", "data.options": {"dept": 2}}, ["dept"]),
        (STEPS, {"task": "gsm8k-aug", "data.options": {"drop": True}}, ["drop"]),
        (STEPS, {"task": "data/mine", "data.options": {"grading": "numbers"}}, ["number", "choice", "exact", "yes/no"]),
        (STEPS, {"data.out_of_domain": {"far": {"wording": "tset"}}}, ["tset"]),
        (STEPS, {"data.out_of_domain": {"far": {"name": "svmap"}}}, ["svamp"]),
        (ABLATIONS, {"data.options": {"max_valu": 9}}, ["max_valu"]),
        ("10_one_gpu", {"part": "smok"}, ["smoke", "speed"]),
    ],
)
def test_values_that_are_not_there_stop_before_a_kernel_starts(lesson, bad, allowed, tmp_path, monkeypatch):
    monkeypatch.setattr("papermill.execute_notebook", lambda *_, **__: pytest.fail("a kernel was started"))
    with pytest.raises(ValueError) as error:
        run_notebook(lesson, tmp_path / "out", bad)
    assert str(error.value).startswith(f"{lesson}: ") or "no method" in str(error.value)
    assert all(name in str(error.value) for name in allowed)
    assert not (tmp_path / "out").exists()


def test_near_miss_is_suggested(toy):
    with pytest.raises(ValueError, match="did you mean 'seed'"):
        check_parameters(toy, {"sede": 1})


def test_unknown_notebook_lists_the_known_ones():
    with pytest.raises(FileNotFoundError, match=r"notebooks/ has"):
        check_parameters("no_such", {})


def test_untyped_parameter_is_refused(notebook):
    with pytest.raises(ValueError, match="name: type = value"):
        read_parameters(notebook("untyped", "seed = 0"))


# --- groups --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lesson", "good"),
    [
        (STAGES, {"model.n_layers": 2, "data.n_train": 5, "options.mixing": "improved", "options.n_stages": 1}),
        (STAGES, {"training": {"precision": "bf16", "warmup": 3, "schedule": None, "betas": [0.9, 0.95]}}),
        (STAGES, {"data.out_of_domain": {"short": {"n_steps": [2, 2]}}, "data": {"options": {"n_steps": [1, 2]}}}),
        (STAGES, {"model.writer_options": {"x": 1}, "model.words": ["a", "b"], "run": {"tier": "x", "budget": 1}}),
        (STEPS, {"method": "pause", "options.n_thoughts": 2}),
        (STEPS, {"method": "icot", "options": {"smoothing": 1, "longest_chain": 9}}),
        (CODI, {"options.levels": [0, -1], "options.distance": "l2", "options.distill_weight": 20}),
    ],
)
def test_good_groups_pass(lesson, good):
    check_parameters(lesson, good)


@pytest.mark.parametrize(
    ("lesson", "bad", "message"),
    [
        (STAGES, {"n_layers": 2}, r"no parameter 'n_layers'; did you mean model\.n_layers\? It takes:\n  method: "),
        (STAGES, {"batch_size": 2}, r"did you mean training\.batch_size\?"),
        (STAGES, {"warmup": 2}, r"did you mean training\.warmup\?"),
        (STAGES, {"n_train": 2}, r"did you mean data\.n_train\?"),
        (STAGES, {"budget": 0.1}, r"did you mean run\.budget\?"),
        (STAGES, {"model.n_layer": 2}, r"model has no field 'n_layer'; did you mean 'n_layers'\? It takes:\n  model\.lm: "),
        (STAGES, {"model.n_layers": "2"}, r"model\.n_layers must be int, not '2' \(str\)\. It takes:\n  model\.lm: str = 't"),
        (STAGES, {"model.markers": 1}, r"model\.markers must be bool"),
        (STAGES, {"model": 2}, r"model must be dict, not 2"),
        (STAGES, {"training.lr": "1e-3"}, r"training\.lr must be float"),
        (STAGES, {"training.precision": "fp16"}, r"training\.precision must be Literal\['no', 'bf16'\], not 'fp16'"),
        (STAGES, {"training.schedule": "wavy"}, r"training\.schedule must be .*'cosine'"),
        (STAGES, {"data.options": 3}, r"data\.options must be Mapping\[str, Any\], not 3"),
        (STAGES, {"data.options.n_steps": [1, 2]}, r"data has no field 'options\.n_steps'"),
        (STAGES, {"run.budget": "all"}, r"run\.budget must be float"),
        (STAGES, {"method": "codi"}, r"method must be Literal\['coconut', .*\], not 'codi'"),
        (STAGES, {"options.mixing": "some"}, r"options\.mixing must be Literal\['none', 'uniform', 'improved'\], not 'some'"),
        (STAGES, {"options.n_thoughts": 2}, r"options has no field 'n_thoughts'"),
        (STEPS, {"method": "cot", "options.n_thoughts": 2}, r"options has no field 'n_thoughts'"),
        (STEPS, {"method": "pause", "options.smoothing": 2}, r"options has no field 'smoothing'"),
        (CODI, {"options.levels": [0.5]}, r"options\.levels must be Sequence\[int\], not \[0\.5\]"),
        (CODI, {"options.distance": "cosine"}, r"options\.distance must be "),
    ],
)
def test_bad_fields_of_groups_are_named(lesson, bad, message):
    with pytest.raises(ValueError, match=rf"^{lesson}(: | has )(.*; )?{message}") as error:
        check_parameters(lesson, bad)
    assert "<" not in str(error.value), "a type or a default as Python shows it"


@pytest.mark.parametrize(
    ("lesson", "key", "meant"),
    [
        (STEPS, "learning_rate", "'lr'"),
        (STEPS, "training.learning_rate", "'lr'"),
        (STEPS, "LR", "'lr'"),
        (STEPS, "epochs", "'steps'"),
        (STEPS, "training.max_grad_norm", "'clip'"),
        (STEPS, "per-device-train-batch-size", "training.batch_size"),
        (STEPS, "hidden_size", "model.d_model"),
        (STEPS, "model.n_embd", "'d_model'"),
        (STEPS, "model_name_or_path", "model.lm"),
        (STEPS, "dataset", "'task'"),
        (STEPS, "data.batch_size", "training.batch_size"),
        (STEPS, "checkpoint", "run.init_from"),
        (STEPS, "output_dir", "run.dir"),
        (CODI, "n_latents", "options.n_thoughts"),
        (CODI, "options.distill_loss_factor", "'distill_weight'"),
        (STAGES, "c_thought", "options.latents_per_step"),
        (STAGES, "stpes", "'steps'"),
    ],
)
def test_what_others_call_it_is_known(lesson, key, meant):
    with pytest.raises(ValueError, match=rf"; did you mean {re.escape(meant)}\? It takes:"):
        check_parameters(lesson, {key: 1})


def test_every_synonym_leads_somewhere():
    """To a name that some lesson has, and from no name that one has itself."""
    lessons = [path.stem for path in NOTEBOOKS.glob("0*.ipynb")]
    names = {name for lesson in lessons for name in typed_parameters(lesson)}
    names |= {one.name for group in GROUPS for owner in classes_of(group, "") for one in fields(owner)}
    names |= {one.name for method in METHODS.values() for one in fields(method.options)}
    assert set(SYNONYMS) <= names
    assert not {other for others in SYNONYMS.values() for other in others.split()} & names


def test_a_field_of_two_groups_may_have_been_meant_in_either(notebook):
    path = notebook("both", "model: dict = {}\nfrozen: dict = {}")
    with pytest.raises(ValueError, match=r"did you mean model\.lora_rank or frozen\.lora_rank\?"):
        check_parameters(path, {"lora_rank": 2})


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_defaults_of_every_notebook_are_what_they_say(path):
    check_parameters(path, {})


def test_dotted_names_and_groups_are_the_same():
    asked = {"lr": 1, "model.n_layers": 2, "model": {"d_model": 8}, "data.options": {"a.b": 1}, "model.lm": "x"}
    assert nested(asked) == {"lr": 1, "model": {"n_layers": 2, "d_model": 8, "lm": "x"}, "data": {"options": {"a.b": 1}}}
    assert nested(nested(asked)) == nested(asked)
    assert asked["model"] == {"d_model": 8}, "what was given stays as it was"


def test_a_run_depends_on_what_it_is_told_and_not_on_where_it_lies(toy):
    keys = [inputs_key(toy, p) for p in ({"run.tier": "t"}, {"run": {"tier": "t", "dir": "/x"}}, {"run.tier": "u"}, {"lr": 1})]
    assert keys[0] == keys[1] and len(set(keys)) == 3


@pytest.mark.parametrize("bad", [{"model": {"n_layer": 2}}, {"markers": "false"}])
def test_a_notebook_run_by_plain_papermill_stops_in_its_first_cell(bad, tmp_path, monkeypatch):
    """papermill itself takes any parameter; the message is that of `check_parameters`. Nothing is trained or recorded."""
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    out = tmp_path / "out.ipynb"
    with pytest.raises(ValueError) as wanted:
        check_parameters(STAGES, bad)
    bad |= {"run": {"dir": str(tmp_path / "run")}}
    path = str(NOTEBOOKS / f"{STAGES}.ipynb")
    with pytest.raises(papermill.PapermillExecutionError) as error:
        papermill.execute_notebook(path, str(out), bad, kernel_name="python3", cwd=str(NOTEBOOKS), progress_bar=False)
    assert (error.value.ename, error.value.evalue) == ("ValueError", str(wanted.value))
    assert error.value.source.startswith(f'lesson = Lesson("{STAGES}", globals())')
    cells = [cell for cell in json.loads(out.read_text())["cells"] if cell["cell_type"] == "code"]
    failed = next(i for i, cell in enumerate(cells) if "".join(cell["source"]) == error.value.source)
    assert not any(cell["execution_count"] for cell in cells[failed + 1 :])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("bad", [{"lr": "1e-3"}, {"steps": 10.5}, {"seed": "0"}, {"method": "cocnut"}, {"training": "bf16"}])
def test_a_lesson_does_not_open_with_values_of_another_kind(bad):
    known = {key: parameter.value for key, parameter in typed_parameters(STAGES).items()}
    with pytest.raises(ValueError, match=f"{STAGES}: {next(iter(bad))} must be "):
        Lesson(STAGES, known | bad)


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_every_notebook_looks_at_what_papermill_put_into_it(path):
    """In the first cell behind the parameters; as papermill writes its cell."""
    book = json.loads(path.read_text())
    cells = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    at = next(i for i, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", ()))
    names = {"In": ["", '# Parameters\nno_such_thing = "x"\n'], "no_such_thing": "x"}
    exec("".join("".join(cell["source"]) + "\n" for cell in cells[: at + 1]), names)
    with pytest.raises(ValueError, match=f"^{path.stem} has no parameter 'no_such_thing'"):
        exec("".join(cells[at + 1]["source"]), names)


# --- a lesson ------------------------------------------------------------------------------------------------------

FEW = {"n_train": 24, "n_valid": 4, "n_test": 6}


@pytest.fixture(autouse=True)
def whole(monkeypatch):
    monkeypatch.delenv(SHARE, raising=False)


def a_lesson(name: str, **told) -> Lesson:
    """A lesson as its notebook opens it, behind its parameters cell."""
    known = {key: parameter.value for key, parameter in typed_parameters(name).items()} | {"data": FEW}
    assert set(told) <= set(known), "the lesson has no such parameter, and would not see it"
    return Lesson(name, known | told)


@pytest.mark.parametrize(
    ("name", "told", "start"),
    [(STEPS, {"method": "icot"}, "cot"), *((STAGES, {"method": m}, "stage-0") for m in ("coconut", "no_thought"))],
)
def test_what_starts_from_a_model_has_no_start_of_its_own(name, told, start):
    alone, heir = (a_lesson(name, **told, run=run).method(longest_chain=21) for run in ({}, {"init_from": "somewhere"}))
    assert alone.curriculum[0].name == start and alone.curriculum[0].steps == 900
    assert [stage.name for stage in heir.curriculum] == [stage.name for stage in alone.curriculum[1:]]


@pytest.mark.parametrize("name", [STEPS, STAGES, CODI])
def test_without_steps_to_start_with_there_is_no_start(name):
    lesson = a_lesson(name, training={"start_steps": 0})
    assert not any(stage.name in ("cot", "stage-0") for stage in lesson.method("coconut").curriculum)
    assert lesson.budget.start_steps == 0


def test_steps_scale_and_none_stay_none(monkeypatch):
    monkeypatch.setenv(SHARE, "0.5")
    training = {"start_steps": 0, "steps_per_stage": 3, "start_lr": 0.1}
    lesson = a_lesson(STAGES, run={"budget": 0.1}, steps=1000, lr=0.01, training=training)
    assert lesson.budget == Budget(steps=50, steps_per_stage=1, start_steps=0, lr=0.01, start_lr=0.1)
    assert (lesson.scaled(100), lesson.scaled(1), lesson.scaled(0)) == (5, 1, 0)


def test_training_has_the_fields_of_two():
    lesson = a_lesson(STAGES, seed=7, lr=1e-4, training={"batch_size": 5, "warmup": 0, "schedule": "linear", "clip": 2.0})
    assert lesson.training == TrainOptions(batch_size=5, clip=2.0, seed=7)
    assert (lesson.budget.warmup, lesson.budget.schedule, lesson.budget.lr) == (0, "linear", 1e-4)
    assert {(stage.warmup, stage.schedule) for stage in lesson.method().curriculum} == {(0, "linear")}


def test_icot_is_told_the_longest_chain_that_was_loaded():
    """By itself; what `options` says of it counts more."""
    steps = [sum(map(len, problem.steps)) for problem in a_lesson(STEPS).load()[2]]
    made = [a_lesson(STEPS, method="icot", options=told).load()[0] for told in ({}, {"longest_chain": 8})]
    names = [[stage.name for stage in method.curriculum] for method in made]
    assert names[0] == ["cot", *(f"icot-{n}" for n in range(7, max(steps), 7)), "icot-all"]
    assert names[1] == ["cot", "icot-7", "icot-all"]


def test_options_are_the_methods_own():
    """Another method of the same lesson is made with its defaults, and with what the lesson says to it."""
    lesson = a_lesson(STEPS, method="pause", options={"n_thoughts": 7})
    assert (lesson.method().n_thoughts, lesson.method("pause").n_thoughts, lesson.method("cot").n_thoughts) == (7, 7, 0)
    assert lesson.method("icot", longest_chain=15, n_thoughts=3).curriculum[-2].name == "icot-14"
    assert a_lesson(STAGES).method(n_stages=1).n_thoughts == 1


def test_a_run_by_hand_is_named_after_its_lesson(tmp_path):
    """As README has it: `--out runs/mine`, in no grid's layout."""
    lesson = a_lesson(STAGES, run={"dir": str(tmp_path / "runs" / "mine")}, seed=7)
    lesson.record(lesson.reasoner(lesson.method()), {"n": 6})
    record = json.loads((lesson.folder / "result.json").read_text())
    assert (record["notebook"], record["variant"], record["seed"]) == (STAGES, "mine", 7)


@pytest.mark.parametrize(("share", "budget", "status"), [("1", 1.0, "complete"), ("0.5", 1.0, "smoke"), ("1", 0.5, "smoke")])
def test_a_run_in_short_is_recorded_as_such(share, budget, status, monkeypatch, tmp_path):
    monkeypatch.setenv(SHARE, share)
    lesson = a_lesson(STEPS, run={"dir": str(tmp_path / STEPS / "x--s0"), "budget": budget, "tier": "small"})
    lesson.record(lesson.reasoner(lesson.method()), {"n": 6, "accuracy": 0.5})
    record = json.loads((lesson.folder / "result.json").read_text())
    assert (record["status"], record["tier"], record["n_evaluated"]) == (status, "small", 6)
    assert (record["notebook"], record["variant"], record["seed"]) == (STEPS, "x", 0)
    assert record["parameters"] == lesson.parameters


def test_a_lesson_from_its_first_cell_to_its_record(tmp_path):
    """Coconut after a CoT model that another lesson left."""
    small = {"model": {"d_model": 16, "n_heads": 2}, "training": {"batch_size": 8, "validations": 1, "steps_per_stage": 1}}
    first = a_lesson(STEPS, **small, steps=2, run={"dir": str(tmp_path / STEPS / "a--s0")})
    reasoner = first.reasoner(first.method())
    first.train(reasoner, first.method(), first.encode(reasoner))
    first.record(reasoner, first.measure(reasoner, first.method())[0])

    data = FEW | {"n_thoughts_at_test": 2, "max_tokens": 45, "max_new_tokens": 4}
    data |= {"out_of_domain": {"long": {"n_steps": (5, 5), "sizes": {"test": 5}}}, "options": {"n_steps": [1, 4]}}
    run = {"dir": str(tmp_path / STAGES / "b--s0"), "init_from": str(first.folder)}
    second = a_lesson(STAGES, **small, steps=2, data=data, run=run)
    method, heir, encoded = second.load()
    assert 0 < len(encoded) < 24 and max(problem.n_tokens for problem in encoded) <= 45
    second.start(heir)
    for (name, ours), theirs in zip(heir.lm.named_parameters(), reasoner.lm.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    history = second.train(heir, method, encoded)
    assert len(history) == 4 and history["validation"].notna().sum() == 1
    metrics, result = second.measure(heir, method)
    assert {len(answer.thoughts) for answer in result.answers} == {2}, "as many as at test"
    assert metrics["out_of_domain"]["long"]["n"] == 5
    second.record(heir, metrics)
    record = json.loads((second.folder / "result.json").read_text())
    assert record["metrics"]["controls"].keys() == {"removed", "swapped", "mean"}
    assert (record["metrics"]["train_steps"], record["metrics"]["n_trained_on"]) == (4, len(encoded))
    assert record["tokens_per_answer"] == pytest.approx(sum(answer.n_tokens for answer in result.answers) / 6)
    for ours, saved in zip(heir.parameters(), load_reasoner(second.folder).parameters(), strict=True):
        assert torch.equal(ours, saved)


def test_a_start_is_plain_cot_on_the_problems_given(monkeypatch, tmp_path):
    training = {"start_steps": 2, "start_lr": 1e-2}
    lesson = a_lesson(CODI, steps=1, training=training, model={"d_model": 16, "n_heads": 2})
    reasoner = lesson.reasoner(lesson.method())
    before = {name: p.detach().clone() for name, p in reasoner.named_parameters()}
    lesson.start(reasoner)
    assert all(torch.equal(p, before[name]) for name, p in reasoner.named_parameters()), "no problems, no start"
    lesson.start(reasoner, lesson.encode(reasoner))
    moved = {name for name, p in reasoner.named_parameters() if not torch.equal(p, before[name])}
    assert moved and not any(name.startswith("writer.") for name in moved), "plain CoT asks no writer"


def test_a_method_without_training_is_measured_and_recorded(tmp_path):
    """Soft Thinking after a CoT model, as its registered row asks for it."""
    small = {"model": {"d_model": 16, "n_heads": 2}, "data": FEW | {"max_new_tokens": 4}}
    first = a_lesson(STEPS, **small, steps=1, training={"batch_size": 8}, run={"dir": str(tmp_path / STEPS / "a--s0")})
    cot = first.reasoner(first.method())
    first.train(cot, first.method(), first.encode(cot), validate=False)
    first.record(cot, {"n": 6})
    run = {"dir": str(tmp_path / "09_own_method" / "b--s0"), "init_from": str(first.folder)}
    lesson = a_lesson("09_own_method", **small, method="soft_thinking", steps=0, options={"n_thoughts": 3}, run=run)
    method, reasoner, encoded = lesson.load()
    assert lesson.train(reasoner, method, encoded).empty, "it starts from what it is told without being asked"
    lesson.record(reasoner, lesson.measure(reasoner, method)[0])
    for ours, kept, theirs in zip(*(one.parameters() for one in (reasoner, load_reasoner(lesson.folder), cot)), strict=True):
        assert torch.equal(ours, theirs) and torch.equal(kept, theirs)
    record = json.loads((lesson.folder / "result.json").read_text())
    assert (record["metrics"]["train_steps"], record["status"]) == (0, "complete")
    assert record["metrics"]["controls"].keys() == {"removed", "swapped", "mean"}
