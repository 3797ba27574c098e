"""Baselines without latent reasoning: CoT-SFT, No-CoT-SFT, pause tokens (2310.02226), iCoT (2405.14838)."""

from latent_cot.curriculum import Stage, all_steps, no_steps, remove_tokens_from_left
from latent_cot.methods import Method


def cot(steps: int, lr: float) -> Method:
    """CoT-SFT: question | – | all steps, answer."""
    return Method("cot", "nobody", (Stage("cot", steps, all_steps(), lr, "cosine"),), 0, thinks_between_markers=False)


def no_cot(steps: int, lr: float) -> Method:
    """No-CoT-SFT: question | – | answer."""
    stage = Stage("no-cot", steps, no_steps(), lr, "cosine")
    return Method("no_cot", "nobody", (stage,), 0, thinks_between_markers=False)


def pause(steps: int, lr: float, n_thoughts: int) -> Method:
    """Pause tokens: question | n × one learned embedding | answer. Here in fine-tuning only, the papers' baseline."""
    stage = Stage("pause", steps, no_steps(n_thoughts), lr, "cosine")
    return Method("pause", "pause", (stage,), n_thoughts)


def icot(
    steps_per_stage: int, last_steps: int, lr: float, tokens_per_stage: int, longest_chain: int, smoothing: float = 4.0
) -> Method:
    """iCoT: question | – | what is left of the chain, answer; `tokens_per_stage` more tokens vanish in each stage.

    The paper removes 8 a stage (an epoch), smooths with λ=4, and past 39 tokens (GSM8K) removes the whole chain. The
    last stage, without any chain, gets `last_steps`. Expects a model warm-started from CoT (stage 0 of the paper).
    """
    stages = [
        Stage(f"icot-{n}", steps_per_stage, remove_tokens_from_left(n, smoothing), lr)
        for n in range(tokens_per_stage, longest_chain, tokens_per_stage)
    ]
    stages.append(Stage("icot-all", last_steps, no_steps(), lr, "cosine"))
    return Method("icot", "nobody", tuple(stages), 0, thinks_between_markers=False)
