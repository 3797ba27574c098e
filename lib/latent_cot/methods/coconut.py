"""Coconut: the last hidden state is the next input, on a stage curriculum (Hao et al., 2412.06769, section 3).

    z_1 = h(question <bot>),   z_{i+1} = h(…, z_i)           the thoughts: `thoughts.think` with the identity as writer
    stage k:  question | c·k thoughts | step k+1 … step N, answer      the language: `replace_steps_with_thoughts`
    L = cross-entropy on that language                       the supervision: `supervision.supervise_language`

The paper's ablations are the same with one choice changed: a curriculum of the final stage only, thoughts written by nobody
or by a pause embedding. Options mix other stages in; `ReasonerSpec.learned_stop` adds a classifier that ends the thoughts.
Where the official code differs: nothing in the loss (see tests/test_parity.py); it trains one extra stage in which all
remaining steps are gone and the thoughts stay, which is the last stage here too.
"""

from dataclasses import dataclass, replace

from latent_cot.curriculum import Budget, Mixing, replace_steps_with_thoughts
from latent_cot.methods import Method, method

LESSON = "03_coconut_stages"


@dataclass(frozen=True)
class CoconutOptions:
    """Settings of section 4; the paper's for GSM8k behind them."""

    n_stages: int = 3  # stages that replace one step each; paper: 3, and 6 for ProntoQA and ProsQA
    latents_per_step: int = 1  # c; paper: 2, and 1 for the logic tasks
    final_stage: bool = False  # paper: one more stage, all remaining steps gone, thoughts unchanged
    pad_to_last: bool = True  # always c·n_stages thoughts in the final stage, also for shorter problems
    mixing: Mixing = "none"
    mixing_share: float = 0.3  # "uniform": the official `uniform_prob` of the analysis runs


@method("Coconut", LESSON, also={
    "coconut_mixed": "Coconut, mixed stages", "coconut_share05": "Coconut, other stages in 5 % of cases",
    "coconut_share10": "Coconut, other stages in 10 %", "coconut_share30": "Coconut, other stages in 30 %",
})  # fmt: skip
def coconut(options: CoconutOptions, budget: Budget, writer: str = "hidden") -> Method:
    """The stages as data. With `start_steps` CoT is trained first (stage 0); without, a model that can do it is expected."""
    thinks = writer != "nobody"
    n_thoughts = options.n_stages * options.latents_per_step if thinks else 0

    def arrange(k: int):
        return replace_steps_with_thoughts(
            k,
            options.n_stages,
            options.latents_per_step,
            options.pad_to_last,
            options.mixing,
            options.mixing_share,
            thoughts=thinks,
        )

    last = options.n_stages + options.final_stage
    stages = [budget.middle("stage-0", arrange(0), budget.start_steps)] if budget.start_steps else []
    stages += [budget.middle(f"stage-{k}", arrange(k)) for k in range(1, last)]
    stages += [budget.stage(f"stage-{last}", arrange(last))]
    return Method(
        name="coconut",
        writer=writer,
        curriculum=tuple(stages),
        n_thoughts=n_thoughts,
        thinks_between_markers=thinks,
        writes_chain=options.mixing != "none",
        options=options,
    )


@method("– without curriculum", LESSON)
def no_curriculum(options: CoconutOptions, budget: Budget) -> Method:
    """The last stage from the first step on, for as many steps as all stages have."""
    whole = coconut(options, budget)
    last = replace(whole.curriculum[-1], steps=sum(stage.steps for stage in whole.curriculum))
    return replace(whole, name="no_curriculum", curriculum=(last,))


@method("– without thought", LESSON)
def no_thought(options: CoconutOptions, budget: Budget) -> Method:
    """Steps vanish on the same schedule, and nothing stands in their place."""
    return replace(coconut(options, budget, writer="nobody"), name="no_thought")


@method("– pause as thought", LESSON, also={"pause_mixed": "– pauses, mixed stages"})
def pause_as_thought(options: CoconutOptions, budget: Budget) -> Method:
    """The same schedule, but every thought is one learned embedding."""
    return replace(coconut(options, budget, writer="pause"), name="pause_as_thought")
