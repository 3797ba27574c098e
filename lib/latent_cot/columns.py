"""Columns: where a batch's tokens stand in what a model has read, and caches that are values.

Many families count columns: a sliding window (Mistral, Gemma 3, GPT-Neo) or ALiBi (MPT) takes what stands between two
tokens for tokens. So a problem's real tokens must stand together, without padding or hidden columns between them: padding
before the first and behind the last is harmless. Where holes arise (problems with fewer thoughts than others; CODI's <bot>,
hidden from the teacher) the cache is closed up before anything more is read. Few reads need it: one for a batch.
"""

import copy

from jaxtyping import Bool, Int
from torch import Tensor
from transformers import DynamicCache


def fork(cache: DynamicCache) -> DynamicCache:
    """A cache appends by concatenation, so a shallow copy is a fork: the given one keeps its own tensors."""
    twin = copy.copy(cache)
    twin.layers = [copy.copy(layer) for layer in cache.layers]
    return twin


def stand_together(mask: Bool[Tensor, "batch columns"]) -> bool:
    """Whether no row has a hole: padding, real columns, padding."""
    begins = (mask[:, 1:] & ~mask[:, :-1]).sum(1) + mask[:, 0]
    return not (begins > 1).any()


def in_order(tensor: Tensor, order: Int[Tensor, "batch columns"]) -> Tensor:
    """A batch's columns (dimension 1) in each row's own order."""
    return tensor.take_along_dim(order if tensor.dim() == 2 else order[..., None], 1)


def close_up(cache: DynamicCache, mask: Bool[Tensor, "batch seen"]) -> tuple[DynamicCache, Bool[Tensor, "batch kept"]]:
    """The cache and its mask with all padding on the left; columns that are padding in every row are left out.

    Positions are in the keys already (or are counted from the mask), so that a column may move.
    """
    used = mask.any(0).nonzero()
    end = int(used.max()) + 1 if len(used) else 0
    order = mask.long().argsort(dim=1, stable=True)[:, mask.shape[1] - int(mask.sum(1).max()) :]
    only_behind = bool(end) and stand_together(mask) and bool(mask[:, end - 1].all())  # as CODI's <bot>: nothing has to move

    def closed(kept: Tensor) -> Tensor:  # batch × heads × columns × d
        return kept[:, :, :end] if only_behind else kept.take_along_dim(order[:, None, :, None], 2)

    twin = fork(cache)
    for layer in twin.layers:
        for name in ("keys", "values"):
            setattr(layer, name, closed(getattr(layer, name)))
    return twin, mask[:, :end] if only_behind else in_order(mask, order)
