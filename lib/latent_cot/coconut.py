"""Coconut: the last hidden state is the next input, on a stage curriculum (Hao et al., 2412.06769, section 3).

    z_1 = h(question <bot>),   z_{i+1} = h(…, z_i)           the thoughts: `thoughts.think` with the identity as writer
    stage k:  question | c·k thoughts | step k+1 … step N, answer      the language: `replace_steps_with_thoughts`
    L = cross-entropy on that language                       the supervision: `methods.supervise_language`

The paper's ablations are settings: a curriculum of the final stage only, thoughts written by nobody or by a pause
embedding, other stages mixed in, a classifier that ends the thoughts.
Where the official code differs: nothing in the loss (see tests/test_parity.py); it trains one extra stage in which all
remaining steps are gone and the thoughts stay, which is the last stage here too.
"""

from dataclasses import dataclass
from typing import Literal

from latent_cot.curriculum import Mixing, Stage, replace_steps_with_thoughts
from latent_cot.methods import Method

Variant = Literal["coconut", "no_curriculum", "no_thought", "pause_as_thought"]


@dataclass(frozen=True)
class CoconutOptions:
    """Settings of section 4; defaults are those of GSM8k."""

    n_stages: int = 3  # stages that replace one step each
    latents_per_step: int = 2  # c
    final_stage: bool = True  # one more stage: all remaining steps gone, thoughts unchanged
    pad_to_last: bool = True  # always c·n_stages thoughts in the final stage, also for shorter problems
    mixing: Mixing = "none"
    mixing_share: float = 0.3  # "uniform": the official `uniform_prob` of the analysis runs
    variant: Variant = "coconut"


def coconut(options: CoconutOptions, steps_per_stage: int, last_steps: int, lr: float, stage_0_steps: int = 0) -> Method:
    """The stages as data. `stage_0_steps` > 0 trains CoT first; 0 expects a model warm-started from CoT."""

    def stage(k: int, steps: int, schedule: str) -> Stage:
        arrange = replace_steps_with_thoughts(
            k,
            options.n_stages,
            options.latents_per_step,
            options.pad_to_last,
            options.mixing,
            options.mixing_share,
            thoughts=options.variant != "no_thought",
        )
        return Stage(f"stage-{k}", steps, arrange, lr, schedule)

    last = options.n_stages + (1 if options.final_stage else 0)
    first = [stage(0, stage_0_steps, "constant_with_warmup")] if stage_0_steps else []
    middle = [stage(k, steps_per_stage, "constant_with_warmup") for k in range(1, last)]
    stages = [*first, *middle, stage(last, last_steps, "cosine")]
    if options.variant == "no_curriculum":
        stages = [stage(last, sum(s.steps for s in stages), "cosine")]
    return Method(
        name=options.variant,
        writer={"no_thought": "nobody", "pause_as_thought": "pause"}.get(options.variant, "hidden"),
        curriculum=tuple(stages),
        n_thoughts=0 if options.variant == "no_thought" else options.n_stages * options.latents_per_step,
        thinks_between_markers=options.variant != "no_thought",
    )
