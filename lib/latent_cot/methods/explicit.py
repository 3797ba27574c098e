"""Baselines without latent reasoning: CoT-SFT, No-CoT-SFT, pause tokens (2310.02226), iCoT (2405.14838)."""

from dataclasses import dataclass

from latent_cot.curriculum import Budget, all_steps, no_steps, remove_tokens_from_left
from latent_cot.methods import Method, NoOptions, method

LESSON = "02_explicit_baselines"


@method("No-CoT", LESSON, also={"no_cot_long": "No-CoT (total budget)"})
def no_cot(options: NoOptions, budget: Budget) -> Method:
    """No-CoT-SFT: question | – | answer."""
    return Method("no_cot", "nobody", (budget.stage("no-cot", no_steps()),), thinks_between_markers=False)


@method("CoT", LESSON, also={"cot_long": "CoT (total budget)"})
def cot(options: NoOptions, budget: Budget) -> Method:
    """CoT-SFT: question | – | all steps, answer."""
    return Method("cot", "nobody", (budget.stage("cot", all_steps()),), thinks_between_markers=False, writes_chain=True)


@dataclass(frozen=True)
class PauseOptions:
    n_thoughts: int = 4  # positions; Coconut paper: as many as Coconut has thoughts


@method("Pause tokens", LESSON, also={"pause_long": "Pause tokens (total budget)"})
def pause(options: PauseOptions, budget: Budget) -> Method:
    """Pause tokens: question | n × one learned embedding | answer. Here in fine-tuning only, the papers' baseline."""
    stage = budget.stage("pause", no_steps(options.n_thoughts))
    return Method("pause", "pause", (stage,), n_thoughts=options.n_thoughts)


@dataclass(frozen=True)
class ICoTOptions:
    tokens_per_stage: int = 7  # that vanish in each stage; paper: 8. Seven are one written step of the miniature
    longest_chain: int = 0  # past so many tokens the whole chain goes; paper, GSM8K: 39; 0: the longest there is
    smoothing: float = 4.0  # λ


@method("iCoT", LESSON, also={"icot_long": "iCoT (total budget)"})
def icot(options: ICoTOptions, budget: Budget) -> Method:
    """iCoT: question | – | what is left of the chain, answer; a few tokens more vanish in each stage (in the paper an epoch).

    It starts from a model that writes its chain (the paper's stage 0): trained here first, if the budget has such steps.
    Raises ValueError for an unknown length of the longest chain.
    """
    if not options.longest_chain:
        raise ValueError("icot has to know the longest chain, in tokens: longest_chain")
    stages = [
        budget.middle(f"icot-{n}", remove_tokens_from_left(n, options.smoothing))
        for n in range(options.tokens_per_stage, options.longest_chain, options.tokens_per_stage)
    ]
    start = cot(NoOptions(), budget.for_start()).curriculum if budget.start_steps else ()
    last = budget.stage("icot-all", no_steps())
    return Method("icot", "nobody", (*start, *stages, last), thinks_between_markers=False)
