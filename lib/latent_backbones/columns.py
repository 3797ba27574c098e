"""Columns: where a batch's tokens stand in what a model has read, and caches that are values.

Many families count columns: a sliding window (Mistral, Gemma 3, GPT-Neo) or ALiBi (MPT) takes what stands between two
tokens for tokens. So a problem's real tokens must stand together, without padding or hidden columns between them: padding
before the first and behind the last is harmless. Where holes arise (problems with fewer thoughts than others; CODI's <bot>,
hidden from the teacher) the cache is closed up before anything more is read. Few reads need it: one for a batch.
"""

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

Kept = Float[Tensor, "_ heads _ _"]  # batch × heads × columns × d


@dataclass
class _Room:
    """Keys and values with room behind them, and the keys that were written last."""

    keys: Kept
    values: Kept
    last: Kept


class _Layer(DynamicLayer):
    """What a layer keeps of what was read: with gradients by concatenation, without by writing behind what is there.

    Forks share the room. Who writes first behind some columns may; whoever comes second, or holds other columns, copies.
    """

    keys: Kept
    values: Kept
    room: _Room | None = None

    def update(self, key_states: Kept, value_states: Kept, *_, **__) -> tuple[Kept, Kept]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        if torch.is_grad_enabled():
            first = not self.keys.shape[2]
            self.keys = key_states if first else torch.cat([self.keys, key_states], 2)
            self.values = value_states if first else torch.cat([self.values, value_states], 2)
            return self.keys, self.values
        before, width = self.keys.shape[2], self.keys.shape[2] + key_states.shape[2]
        if self.room is None or self.room.last is not self.keys or width > self.room.keys.shape[2]:
            self._move(width)
        assert self.room is not None
        self.room.keys[:, :, before:width], self.room.values[:, :, before:width] = key_states, value_states
        self.keys, self.values = self.room.keys[:, :, :width], self.room.values[:, :, :width]
        self.room.last = self.keys
        return self.keys, self.values

    def _move(self, width: int, rows: Int[Tensor, " kept"] | None = None) -> None:
        """Into new room for `width` columns and some more; with `rows`, only these problems."""
        wide, held = width + max(32, width // 4), self.keys.shape[2]

        def moved(old: Kept) -> Kept:
            n = len(old) if rows is None else len(rows)
            new = old.new_empty(n, old.shape[1], wide, old.shape[3])
            new[:, :, :held] = old if rows is None else old[rows]
            return new

        keys, values = moved(self.keys), moved(self.values)
        self.keys, self.values = keys[:, :, :held], values[:, :, :held]
        self.room = _Room(keys, values, self.keys)

    def batch_select_indices(self, indices: Int[Tensor, " kept"]) -> None:
        if torch.is_grad_enabled():
            super().batch_select_indices(indices)
        elif self.is_initialized:
            self._move(self.keys.shape[2], indices)


def empty_cache() -> DynamicCache:
    """Told of no sliding window: it keeps every column, and the mask says what is in reach."""
    cache = DynamicCache()
    cache.layer_class_to_replicate = _Layer
    return cache


def fork(cache: DynamicCache) -> DynamicCache:
    """A shallow copy is a fork: what is read from it leaves the given one its own tensors."""
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
