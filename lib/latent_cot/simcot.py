"""SIM-CoT: every thought must be able to say the step that it stands for (ICLR 2026).

    L_steps = - 1/N sum_{thought i, token j} log p_decoder(step_ij | z_i, step_i,<j)

A small decoder of its own reads a thought and writes the step. It is there in training only, beside Coconut's loss or
CODI's: the thoughts get a gradient of their own, and at inference nothing has changed. The paper's decoder is as large
as the LM; here it has as many layers as asked for, and shares the LM's embedding and head.
"""

import copy
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AutoModel

from latent_backbones.parts import LanguageModel, body
from latent_cot.families import set_layers
from latent_cot.sequences import IGNORED, Batch


class StepDecoder(nn.Module):
    """A transformer of the LM's kind and width, from scratch, without words of its own."""

    def __init__(self, lm: LanguageModel, n_layers: int):
        super().__init__()
        config = copy.deepcopy(body(lm).config)
        set_layers(config, n_layers)
        config.vocab_size, config.pad_token_id = 1, None
        self.body = AutoModel.from_config(config)

    def forward(self, embeds: Float[Tensor, "steps l d"]) -> Float[Tensor, "steps l d_state"]:
        return self.body(inputs_embeds=embeds, use_cache=False).last_hidden_state


def step_loss(reasoner: Any, thoughts: Float[Tensor, "batch thoughts d"], batch: Batch) -> Float[Tensor, ""]:
    """Cross-entropy of the steps that a batch's thoughts stand for, under the reasoner's `step_decoder`."""
    said = batch.said[:, : thoughts.shape[1]]
    speaks = (said != IGNORED).any(-1)
    if not speaks.any():
        return thoughts.new_zeros(())
    labels = said[speaks]
    words = reasoner.embed(labels[:, :-1].clamp(min=0))  # behind a step's end any word will do: it predicts nothing
    states = reasoner.step_decoder(torch.cat([thoughts[speaks][:, None], words], dim=1))
    return F.cross_entropy(reasoner.head(states).transpose(1, 2), labels, ignore_index=IGNORED, reduction="sum") / batch.n_said
