"""What a trained model has that the LM it was built on does not: LoRA's matrices, a writer, the rows of added tokens.

Some megabytes of hundreds, so that a model too large to ship can travel with its record.
"""

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from latent_backbones.weights import read_weights, save_tensors
from latent_cot.models import Reasoner, build_reasoner, load_reasoner, spec_of

PARTS = "adapters.safetensors"


def take_apart(folder: Path, into: Path) -> None:
    """Of the model in a folder, leave in another what its source lacks: of each weight the rows from the first that differs."""
    whole, parts = load_reasoner(folder), dict[str, Tensor]()
    source = dict(build_reasoner(whole.spec).named_parameters())
    for name, weight in whole.named_parameters():
        if len(rows := (weight != source[name]).reshape(len(weight), -1).any(1).nonzero()):
            first = int(rows[0])
            parts[f"{first}:{name}"] = weight[first:]
    save_tensors(into / PARTS, parts, {"spec": json.dumps(asdict(whole.spec))})


def put_together(folder: Path) -> Reasoner:
    """The whole model again, bit for bit. Raises what `build_reasoner` raises where its source is out of reach."""
    with safe_open(folder / PARTS, framework="pt") as file:
        reasoner = build_reasoner(spec_of(file.metadata()))
    weights = dict(reasoner.named_parameters())
    with torch.no_grad():
        for key, part in read_weights(folder / PARTS).items():
            first, _, name = key.partition(":")
            weights[name][int(first) :].copy_(part)
    return reasoner
