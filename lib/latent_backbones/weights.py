"""Weights as files: safetensors with a checksum, written whole or not at all, and what the official code released."""

import contextlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from latent_backbones.parts import LanguageModel
from latent_backbones.sources import one_line
from latent_backbones.whole import BLANK, CHECKSUM, check_whole, seal


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """A safetensors file with a checksum, under its final name only when whole. Raises OSError, with that name, where it cannot
    be written; what was there stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(contiguous, part, {**(metadata or {}), CHECKSUM: BLANK})
        seal(part)
        os.replace(part, path)
    except (SafetensorError, OSError) as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise OSError(f"{path} cannot be written: {error}") from error


def set_weights(reasoner: nn.Module, weights: dict[str, Tensor]) -> None:
    """Copy named weights into a reasoner's parameters. Raises KeyError for a name that it does not have."""
    parameters = dict(reasoner.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors file, or of a released `.bin`, of which nothing but tensors is unpickled."""
    safe = Path(path).suffix == ".safetensors"
    with one_line(path):
        if safe:
            check_whole(path)
        return load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)


def load_lm(lm: LanguageModel, weights: dict[str, Tensor]) -> None:
    """Load an LM's state dict in which tied tensors may stand once. Raises ValueError on any other difference."""
    result = lm.load_state_dict(weights, strict=False)
    own = lm.state_dict(keep_vars=True)
    loaded = {id(own[name]) for name in weights if name in own}
    missing = [name for name in result.missing_keys if id(own[name]) not in loaded and ".lora_" not in name]
    if missing or result.unexpected_keys:
        raise ValueError(f"checkpoint does not fit: missing {missing}, unexpected {result.unexpected_keys}")


def load_official(reasoner: nn.Module, path: Path) -> None:
    """Load weights of the official Coconut (`base_causallm.*`), CODI (`codi.*`, `prj.*`) or SoftCoT code (its projection).

    Raises ValueError if they are for another model, or pair of models.
    """
    weights = read_weights(path)
    only_writer = bool(weights) and set(weights) <= {"weight", "bias", "projection.weight", "projection.bias"}
    prefixes = ("base_causallm.", "codi.")
    lm = {name.removeprefix(p): w for name, w in weights.items() for p in prefixes if name.startswith(p)}
    writer = {name.removeprefix("prj."): w for name, w in weights.items() if name.startswith("prj.")}
    if only_writer:
        writer = {name.removeprefix("projection."): w for name, w in weights.items()}
    try:
        if not only_writer:  # Coconut's wrapper repeats the embedding under its own name; a bare LM is taken as it is
            load_lm(reasoner.lm, lm or {n: w for n, w in weights.items() if not n.startswith("embedding.")})
        if writer:
            reasoner.get_submodule("writer").load_state_dict(writer)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit: {error}") from None
