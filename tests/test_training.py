"""Training: resume is exact, micro-batches and processes add up, divergence is named; the controls are honest."""

import contextlib
import re
import resource
from contextlib import contextmanager
from dataclasses import dataclass, replace

import pandas as pd
import pytest
import torch
from accelerate import PartialState, debug_launcher
from accelerate.state import AcceleratorState
from safetensors.torch import load_file, save_file
from test_thoughts import TASK, encoded, families, tiny_reasoner

from latent_cot.curriculum import Budget, Stage, all_steps, no_steps
from latent_cot.evaluation import evaluate, prompt
from latent_cot.generation import answer, answer_batch
from latent_cot.methods import Method, make
from latent_cot.models import Reasoner
from latent_cot.sequences import ContextTooLong, collate, encode
from latent_cot.thoughts import read, think
from latent_cot.training import TrainingDiverged, TrainOptions, train

OPTIONS = TrainOptions(batch_size=4, validations=2, checkpoint_every=2)
BUDGET = Budget(steps=4, steps_per_stage=3, lr=1e-3, warmup=2)
COCONUT = make("coconut", {"n_stages": 1, "latents_per_step": 2, "final_stage": True, "mixing": "uniform"}, BUDGET)
CODI = make("codi", {"n_thoughts": 2, "divide_by_std": False}, BUDGET)
METHODS = {"hidden": COCONUT, "projection": CODI}
N_STEPS = 7  # of COCONUT: stage 1, then the final stage


class Killed(Exception):
    """What stands for a kill in these tests."""


def killed_at(method: Method, step: int) -> Method:
    """The same method, dying at its nth optimiser step (counted from 0 in this process)."""
    calls = iter(range(10**6))

    def supervise(reasoner, batch):
        if next(calls) == step:
            raise Killed
        return method.supervise(reasoner, batch)

    return replace(method, supervise=supervise)


def weights(reasoner: Reasoner) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in reasoner.named_parameters()}


def run(reasoner: Reasoner, method: Method, n: int = 12, options: TrainOptions = OPTIONS, **more) -> pd.DataFrame:
    return train(reasoner, method, encoded(reasoner, n), options, progress_bar=False, **more)


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor], tolerance: float = 0.0) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=tolerance, atol=tolerance)


# --- resume --------------------------------------------------------------------------------------------------------


@dataclass
class Validation:
    """A score, or a kill at the nth validation of this process."""

    reasoner: Reasoner
    kill_at: int = -1
    calls: int = 0

    def __call__(self) -> float:
        self.calls += 1
        if self.calls - 1 == self.kill_at:
            raise Killed
        # A function of the weights alone, and better for the earlier weights: the best are not the last.
        return -float(sum(w.square().sum() for w in weights(self.reasoner).values()))


@pytest.mark.parametrize("family, dropout", [("gpt2", 0.0), ("gpt2", 0.2), ("llama", 0.2)])
def test_a_run_killed_at_any_step_ends_as_one_that_was_not(family, dropout, tmp_path):
    def fresh():
        return tiny_reasoner(family, "hidden", dropout=dropout)

    untouched = fresh()
    history = run(untouched, COCONUT, validate=Validation(untouched), folder=tmp_path / "untouched")
    assert len(history) == N_STEPS
    kills = [("step", n) for n in range(N_STEPS)] + [("validation", 0), ("validation", 1)]
    for kind, n in kills if dropout == 0 else kills[2::2]:
        folder = tmp_path / f"{kind}-{n}"
        victim = fresh()
        validation = Validation(victim, kill_at=n if kind == "validation" else -1)
        with pytest.raises(Killed):
            run(victim, killed_at(COCONUT, n if kind == "step" else -1), validate=validation, folder=folder)
        heir = fresh()
        heirs_history = run(heir, COCONUT, validate=Validation(heir), folder=folder)
        assert_same(weights(heir), weights(untouched))
        pd.testing.assert_frame_equal(
            heirs_history.drop(columns="problems_per_second"), history.drop(columns="problems_per_second")
        )


def test_a_run_killed_again_and_again_arrives(tmp_path):
    untouched = tiny_reasoner("gpt2", "projection", dropout=0.2)
    run(untouched, CODI)
    for _ in range(CODI.curriculum[0].steps):  # dies at the second step of every life; checkpoints at every step
        heir = tiny_reasoner("gpt2", "projection", dropout=0.2)
        try:
            run(heir, killed_at(CODI, 1), options=replace(OPTIONS, checkpoint_every=1), folder=tmp_path)
        except Killed:
            continue
    assert_same(weights(heir), weights(untouched))


def test_a_finished_run_is_not_trained_again(tmp_path):
    first, second = (tiny_reasoner("gpt2") for _ in range(2))
    run(first, COCONUT, validate=Validation(first), folder=tmp_path)
    run(second, killed_at(COCONUT, 0), validate=Validation(second), folder=tmp_path)
    assert_same(weights(first), weights(second))


OTHERS = {
    "lr": make("codi", {"n_thoughts": 2}, replace(BUDGET, lr=2e-3)),
    "n_thoughts": make("codi", {"n_thoughts": 3}, BUDGET),
    "distill_weight": make("codi", {"n_thoughts": 2, "distill_weight": 5.0}, BUDGET),
    "keep_last_step": make("codi", {"n_thoughts": 2, "keep_last_step": False}, BUDGET),
}


@pytest.mark.parametrize("what", [*OTHERS, "seed", "batch_size", "problems", "writer"])
def test_other_settings_do_not_resume(what, tmp_path):
    usual = make("codi", {"n_thoughts": 2}, BUDGET)
    run(tiny_reasoner("gpt2", "projection"), usual, folder=tmp_path / "used")
    options = replace(OPTIONS, **{what: 3}) if what in ("seed", "batch_size") else OPTIONS
    n = 10 if what == "problems" else 12
    finals = []
    for folder in ("used", "fresh"):
        reasoner = tiny_reasoner("gpt2", "pause" if what == "writer" else "projection")
        assert len(run(reasoner, OTHERS.get(what, usual), n, options, folder=tmp_path / folder)) == 4
        finals.append(weights(reasoner))
    assert_same(*finals)


def test_steps_of_other_problems_do_not_resume(tmp_path):
    """The same questions and answers with other steps are other data."""
    finals = []
    for drop in (0, 1):
        reasoner = tiny_reasoner("gpt2")
        problems = [replace(p, steps=p.steps[drop:]) for p in encoded(reasoner, 8)]
        train(reasoner, make("cot", {}, replace(BUDGET, steps=2)), problems, OPTIONS, folder=tmp_path, progress_bar=False)
        finals.append(weights(reasoner))
    assert not torch.equal(*(f["lm.transformer.h.0.mlp.c_fc.weight"] for f in finals))


def test_a_run_from_other_weights_does_not_resume(tmp_path):
    """A checkpoint of a run that started elsewhere would silently replace the weights given."""
    for seed, heir in ((0, tiny_reasoner("gpt2")), (1, tiny_reasoner("gpt2"))):
        with torch.no_grad():
            next(heir.parameters()).add_(seed)
        untouched = tiny_reasoner("gpt2")
        untouched.load_state_dict(heir.state_dict())
        run(heir, COCONUT, folder=tmp_path)
        run(untouched, COCONUT)
        assert_same(weights(heir), weights(untouched))


def test_best_weights_on_validation_are_left(tmp_path):
    reasoner = tiny_reasoner("gpt2")
    seen, scores = [], iter([0.1, 0.7, 0.3, 0.7])
    options = replace(OPTIONS, validations=4)

    def validate():
        seen.append(weights(reasoner))
        return next(scores)

    history = run(reasoner, COCONUT, options=options, validate=validate, folder=tmp_path)
    assert_same(weights(reasoner), seen[1])
    assert history["validation"].dropna().tolist() == [0.1, 0.7, 0.3, 0.7]
    assert history["stage"].iloc[-4:].nunique() == 1


# --- checkpoints ---------------------------------------------------------------------------------------------------


def test_checkpoints_are_safetensors_and_nothing_else(tmp_path):
    reasoner = tiny_reasoner("gpt2")
    run(reasoner, COCONUT, validate=Validation(reasoner), folder=tmp_path)
    left = sorted(path.name for path in tmp_path.rglob("*"))
    assert left == ["best.safetensors", "checkpoint.safetensors"]
    for name in left:
        assert load_file(tmp_path / name)


@contextmanager
def full_disk(bytes_left: int):
    """No file may grow beyond this many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path):
    untouched, victim, heir = (tiny_reasoner("gpt2") for _ in range(3))
    run(untouched, COCONUT)
    with pytest.raises(Killed):
        run(victim, killed_at(COCONUT, 3), folder=tmp_path)
    checkpoint = tmp_path / "checkpoint.safetensors"
    old = checkpoint.read_bytes()
    with full_disk(len(old) // 2), pytest.raises(Exception, match=r"File too large|os error 27"):
        run(tiny_reasoner("gpt2"), COCONUT, folder=tmp_path)
    assert checkpoint.read_bytes() == old
    run(heir, COCONUT, folder=tmp_path)
    assert_same(weights(heir), weights(untouched))


def diverging(method: Method, step: int, in_gradient: bool) -> Method:
    """The same method with a loss, or only a gradient, that is not a number at the nth step."""
    calls = iter(range(10**6))

    def supervise(reasoner, batch):
        losses = method.supervise(reasoner, batch)
        if next(calls) == step:
            first = next(reasoner.parameters()).sum()
            # sqrt at 0 is finite and has an infinite slope
            losses["extra"] = (first - first).sqrt() if in_gradient else first * float("nan")
        return losses

    return replace(method, supervise=supervise)


@pytest.mark.parametrize("in_gradient", [False, True])
def test_divergence_is_named_and_keeps_the_checkpoint(in_gradient, tmp_path):
    healthy, sick = tiny_reasoner("gpt2"), tiny_reasoner("gpt2")
    with pytest.raises(TrainingDiverged) as divergence:
        run(sick, diverging(COCONUT, 5, in_gradient), folder=tmp_path)  # steps 0-2 are stage 1, so: its third step
    assert re.search(r"step 3 of stage-2", str(divergence.value))
    assert "arithmetic/train/" in str(divergence.value)
    assert str(divergence.value).endswith(f"last good checkpoint: {tmp_path / 'checkpoint.safetensors'}, step 2 of stage-2")
    for name, tensor in load_file(tmp_path / "checkpoint.safetensors").items():
        assert tensor.isfinite().all(), name
    heir = tiny_reasoner("gpt2")
    run(healthy, COCONUT)
    run(heir, COCONUT, folder=tmp_path)
    assert_same(weights(heir), weights(healthy))


def test_weights_that_are_not_finite_are_neither_validated_nor_saved(tmp_path):
    """A finite loss may lead to them: here they turn infinite behind the forward pass of the last step."""
    reasoner, calls = tiny_reasoner("gpt2"), iter(range(10**6))

    def supervise(reasoner, batch):
        losses = COCONUT.supervise(reasoner, batch)
        if next(calls) == N_STEPS - 1:
            reasoner.lm.transformer.wpe.weight.data[90] = torch.inf  # a position that no problem reaches
        return losses

    with pytest.raises(TrainingDiverged, match=r"wpe.weight is not finite after step 4 .*good checkpoint: .*step 2"):
        run(reasoner, replace(COCONUT, supervise=supervise), validate=Validation(reasoner), folder=tmp_path)
    for path in tmp_path.iterdir():
        assert all(tensor.isfinite().all() for tensor in load_file(path).values()), path


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "best.safetensors"])
@pytest.mark.parametrize("how", ["cut short", "flipped", "gone"])
def test_a_damaged_checkpoint_is_set_aside_and_the_training_starts_anew(name, how, tmp_path):
    untouched, victim, heir = (tiny_reasoner("gpt2") for _ in range(3))
    run(untouched, COCONUT, validate=Validation(untouched))
    with pytest.raises(Killed):
        run(victim, killed_at(COCONUT, 6), validate=Validation(victim), folder=tmp_path)
    path = tmp_path / name
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.unlink() if how == "gone" else path.write_bytes(content[:-9] if how == "cut short" else content)
    nothing = (name, how) == ("checkpoint.safetensors", "gone")  # is not damage: a run that has not come so far
    with contextlib.nullcontext() if nothing else pytest.warns(match="starts anew"):
        history = run(heir, COCONUT, validate=Validation(heir), folder=tmp_path)
    assert len(history) == N_STEPS
    assert_same(weights(heir), weights(untouched))
    assert how == "gone" or (tmp_path / f"{name}.broken").exists()


def test_a_problem_too_long_for_the_context_stops_the_run_first(tmp_path):
    """Also one with a long question and no steps, which is short in total and long once the steps are thoughts."""
    reasoner = tiny_reasoner("gpt2")
    chatty, wordy, *rest = encoded(reasoner, 8)
    wordy = replace(wordy, id="wordy", question=wordy.question * 20, steps=())
    wordy = replace(wordy, question=wordy.question[:93])
    chatty = replace(chatty, question=chatty.question[:5], steps=(chatty.steps * 40)[:14])
    final_stage = replace(COCONUT, curriculum=COCONUT.curriculum[-1:])
    with pytest.raises(ContextTooLong, match="'wordy'"):
        train(reasoner, killed_at(final_stage, 0), [chatty, wordy, *rest], OPTIONS, progress_bar=False)


# --- stages, micro-batches, processes ------------------------------------------------------------------------------


def test_the_optimiser_starts_anew_with_each_stage():
    """Two stages in one run are two runs of a stage each (all problems in every batch)."""
    stages = (Stage("a", 3, all_steps(), 1e-3, warmup=2), Stage("b", 3, no_steps(2), 1e-3, warmup=2))
    together, apart = tiny_reasoner("gpt2"), tiny_reasoner("gpt2")
    options = replace(OPTIONS, batch_size=6)
    run(together, Method("ab", "hidden", stages, n_thoughts=2), 6, options)
    for stage in stages:
        run(apart, Method(stage.name, "hidden", (stage,), n_thoughts=2), 6, options)
    assert_same(weights(together), weights(apart), 1e-9)


@families
@pytest.mark.parametrize("writer", METHODS)
@pytest.mark.parametrize("micro_batch", [1, 2, 3])
def test_micro_batches_add_up_to_the_batch(family, writer, micro_batch):
    whole, parts = (tiny_reasoner(family, writer) for _ in range(2))
    a = run(whole, METHODS[writer])
    b = run(parts, METHODS[writer], options=replace(OPTIONS, micro_batch=micro_batch))
    losses = a.select_dtypes("number").columns.drop("problems_per_second")
    pd.testing.assert_frame_equal(a[losses], b[losses], rtol=1e-9, atol=1e-9)
    assert_same(weights(whole), weights(parts), 1e-9)


def test_each_run_of_a_process_has_its_own_precision():
    half, whole = replace(OPTIONS, precision="bf16"), OPTIONS
    losses = [run(tiny_reasoner("gpt2", "hidden").float(), COCONUT, options=o)["loss"] for o in (whole, half, whole)]
    assert (losses[0] == losses[2]).all()
    assert (losses[0] != losses[1]).any()
    assert (losses[0] - losses[1]).abs().max() < 0.1


TOGETHER = replace(OPTIONS, batch_size=5, micro_batch=2)  # 2 and 3 problems: shares of unequal size


def one_process(folder: str) -> None:
    """Train as one of several processes; write down losses and weights."""
    torch.set_num_threads(1)
    AcceleratorState._reset_state(reset_partial_state=True)  # what this process inherited from the tests before
    for writer, method in METHODS.items():
        reasoner = tiny_reasoner("gpt2", writer)
        losses = torch.tensor(run(reasoner, method, options=TOGETHER)["loss"], dtype=torch.float64)
        save_file({"losses": losses, **weights(reasoner)}, f"{folder}/{writer}-{PartialState().process_index}.safetensors")


def test_two_processes_train_as_one(tmp_path):
    debug_launcher(one_process, (str(tmp_path),), num_processes=2)
    for writer, method in METHODS.items():
        alone = tiny_reasoner("gpt2", writer)
        losses = torch.tensor(run(alone, method, options=TOGETHER)["loss"], dtype=torch.float64)
        for rank in range(2):
            left = load_file(tmp_path / f"{writer}-{rank}.safetensors")
            torch.testing.assert_close(left.pop("losses"), losses, rtol=1e-9, atol=1e-9)
            assert_same(left, weights(alone), 1e-9)


# --- honest controls -----------------------------------------------------------------------------------------------


def by_hand(reasoner: Reasoner, prompts, thoughts, n: int) -> list[tuple[int, ...]]:
    """Greedy tokens when each problem, alone, is given these thoughts."""
    answers, real = [], torch.ones(1, 1, dtype=torch.bool)
    for one, z in zip(prompts, thoughts, strict=True):
        batch = collate([one], reasoner.markers)
        context, _ = read(reasoner.lm, reasoner.embed(batch.question), batch.question_mask)
        context = think(reasoner.lm, context, torch.tensor([len(z)]), lambda hidden, i: z[None, i]).context
        context, _ = read(reasoner.lm, reasoner.embed(batch.language.ids), batch.language.mask, context)
        tokens: list[int] = []
        while len(tokens) < n and reasoner.markers.eos not in tokens:
            tokens.append(int(reasoner.head(context.hidden).argmax()))
            context, _ = read(reasoner.lm, reasoner.embed(torch.tensor([tokens[-1:]])), real, context)
        answers.append(tuple(tokens))
    return answers


@families
def test_controls_do_what_they_say(family):
    reasoner = tiny_reasoner(family).eval()
    problems = sorted(TASK.splits["train"][:5], key=lambda p: len(reasoner.tokenizer(p.question)["input_ids"]))
    encoded = encode(problems, reasoner.tokenizer)
    prompts = {control: [prompt(p, reasoner.markers, 3) for p in encoded] for control in ("thoughts", "swapped", "mean")}
    prompts["removed"] = [prompt(p, reasoner.markers, 0, at_once=True) for p in encoded]  # no chance to reason in words
    assert all(reasoner.tokenizer.decode(p.language).endswith("The answer is:") for p in prompts["removed"])

    def controlled(control):
        found = evaluate(reasoner, TASK, problems, 3, True, max_new_tokens=6, control=control)
        assert [a.id for a in found.answers] == [p.id for p in problems]
        return found.answers

    with torch.no_grad():
        own = [a.thoughts for a in controlled("thoughts")]
        # Problems are answered in order of length; each one's neighbour is the one before it.
        expected = {
            "thoughts": own,
            "removed": [z[:0] for z in own],
            "swapped": [own[-1], *own[:-1]],
            "mean": [torch.stack(own).mean(0)] * len(own),
        }
        room = dict.fromkeys(expected, 6) | {"removed": 2}  # for a number and the end, and none for steps
        tokens = {control: by_hand(reasoner, prompts[control], z, room[control]) for control, z in expected.items()}
    for control, thoughts in expected.items():
        answers = controlled(control)
        assert [a.tokens for a in answers] == tokens[control], control
        for a, z in zip(answers, thoughts, strict=True):
            torch.testing.assert_close(a.thoughts, z, rtol=1e-9, atol=1e-9)
    assert tokens["swapped"] != tokens["thoughts"] != tokens["removed"]


def test_nobody_swaps_thoughts_with_himself():
    """A lone problem has no neighbour: a result for it would be no control."""
    reasoner = tiny_reasoner("gpt2")
    with pytest.raises(ValueError, match="swap"):
        evaluate(reasoner, TASK, TASK.splits["train"][:1], 2, True, max_new_tokens=2, control="swapped")


def test_an_intervention_that_changes_nothing_changes_nothing():
    """Also where a classifier ends the thoughts early."""
    reasoner = tiny_reasoner("gpt2", learned_stop=True)
    prompts = [prompt(p, reasoner.markers, 6) for p in encoded(reasoner, 8)]
    plain = answer_batch(reasoner, prompts, 6)
    assert len({len(a.thoughts) for a in plain}) > 1
    same = answer(reasoner, prompts, 6, intervene=lambda thoughts: thoughts.clone())
    assert [(a.tokens, len(a.thoughts)) for a in same] == [(a.tokens, len(a.thoughts)) for a in plain]


def test_the_loss_falls():
    reasoner = tiny_reasoner("gpt2", "pause")
    history = run(reasoner, make("pause", {"n_thoughts": 2}, Budget(steps=30, lr=5e-3, schedule="constant_with_warmup")))
    assert history["loss"].iloc[-5:].mean() < 0.7 * history["loss"].iloc[:5].mean()
