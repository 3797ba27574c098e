"""The gradients of a step are those that autograd computes pass by pass (`latent_backbones.gradients`)."""

import pytest
import torch
from test_thoughts import close, families, sequences, tiny_reasoner

from latent_backbones import gradients
from latent_cot.methods.codi import CodiOptions, supervise_codi
from latent_cot.models import add_lora
from latent_cot.sequences import collate
from latent_cot.supervision import supervise_language

LOSSES = {"coconut": supervise_language, "codi": lambda *of: supervise_codi(*of, CodiOptions())}


def found(reasoner, batches, loss, together: bool) -> dict[str, torch.Tensor]:
    reasoner.zero_grad()
    for batch in batches:
        if together:
            with gradients.one_product(reasoner):
                sum(LOSSES[loss](reasoner, batch).values()).backward()
        else:
            sum(LOSSES[loss](reasoner, batch).values()).backward()
    return {name: p.grad.clone() for name, p in reasoner.named_parameters() if p.grad is not None}


@families
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("waiting", [0, gradients.WAITING], ids=["none waits", "all wait"])
@pytest.mark.parametrize("lora", [False, True], ids=["all weights", "LoRA"])
def test_gradients_are_those_of_autograd(family, loss, waiting, lora, monkeypatch):
    """Over two micro-batches, with problems that have no thoughts among others."""
    monkeypatch.setattr(gradients, "WAITING", waiting)
    reasoner = tiny_reasoner(family, "projection", lora_rank=2, lora_dropout=0.0)
    if lora:
        reasoner.lm = add_lora(reasoner.lm, reasoner.spec).double()
        for name, parameter in reasoner.lm.named_parameters():
            if "lora_B" in name:  # zero at the start, where A learns nothing
                torch.nn.init.normal_(parameter)
    company = sequences(reasoner, (3, 0, 2, 1))
    batches = [collate(company[:2], reasoner.markers), collate(company[2:], reasoner.markers)]
    expected, ours = (found(reasoner, batches, loss, together) for together in (False, True))
    assert ours.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(ours[name], gradient, **close)
    assert not any("forward" in vars(module) for module in reasoner.modules())


def test_gradients_in_bf16_are_as_near_to_the_exact_ones():
    reasoner = tiny_reasoner("gpt2", "projection")
    batches = [collate(sequences(reasoner, (3, 2, 2, 1)), reasoner.markers)]
    exact = found(reasoner, batches, "coconut", together=False)
    reasoner.float()
    with torch.autocast("cpu", torch.bfloat16):
        plain, ours = (found(reasoner, batches, "coconut", together) for together in (False, True))

    def off(those):
        return sum((those[name].double() - exact[name]).square().sum() for name in exact).sqrt()

    assert off(ours) < 1.2 * off(plain) < 0.2 * sum(one.square().sum() for one in exact.values()).sqrt()
