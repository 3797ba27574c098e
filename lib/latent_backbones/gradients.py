"""One product a weight and step: the gradient of a weight that is used at every thought.

    dW = sum_passes X_pass^T dY_pass = [X_1; X_2; …]^T [dY_1; dY_2; …]

Autograd computes the left side: for every thought a product as large as the weight, which is written, read and added, though
only a batch of single positions stands behind it. At GPT-2's size that is a fifth of Coconut's time on a CPU. Here each pass
leaves its X and dY, and the product is made once, of all of them; only a pass of so many positions that a copy of them costs
more than a sum has its own. The engine itself knows when: a weight is used through a stand-in, whose backward runs when that
of every use has.
"""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

WAITING = 2**22  # numbers in the dY that wait for a product: a bound on the memory that they hold


class _Uses:
    """What the passes of a step leave for one weight and its bias."""

    def __init__(self, module: Any):
        bias: Tensor | None = module.bias
        self.in_by_out, self.has_bias, self.dtype = isinstance(module, Conv1D), bias is not None, module.weight.dtype
        self.rows: list[tuple[Tensor, Tensor]] = []
        self.sums: list[Tensor | None] = [None, None]  # gradients of weight and bias, of rows that did not have to wait
        self.low: dict[torch.dtype, list[Tensor | None]] = {}  # weight and bias as autocast wants them, made once
        self.own: list[Tensor | None] = [module.weight, bias]
        self.stand_ins: Any = _StandIn.apply(module.weight, bias, self)

    def values(self, dtype: torch.dtype) -> list[Tensor | None]:
        if dtype not in self.low:
            self.low[dtype] = [None if one is None else one.detach().to(dtype) for one in self.own]
        return self.low[dtype]

    def leave(self, x: Float[Tensor, "rows in"], dy: Float[Tensor, "rows out"]) -> None:
        """To wait costs a copy of rows × (in + out) numbers; not to, a sum of in × out: the smaller is chosen."""
        if x.numel() + dy.numel() >= x.shape[1] * dy.shape[1]:
            self.add(x, dy)
            return
        self.rows.append((x, dy))
        if sum(waiting.numel() for _, waiting in self.rows) >= WAITING:
            self.add_up()

    def add_up(self) -> None:
        if not self.rows:
            return
        x, dy = (torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*self.rows))
        self.rows = []
        self.add(x, dy)

    def add(self, x: Float[Tensor, "rows in"], dy: Float[Tensor, "rows out"]) -> None:
        left, right = (x, dy) if self.in_by_out else (dy, x)
        weight, bias = self.sums
        self.sums[0] = (left.T @ right).to(self.dtype) if weight is None else weight.add_(left.T @ right)
        if self.has_bias:
            column = dy.sum(0, dtype=self.dtype)
            self.sums[1] = column if bias is None else bias.add_(column)

    def take(self) -> list[Tensor | None]:
        self.add_up()
        sums, self.sums = self.sums, [None, None]
        return sums


class _StandIn(torch.autograd.Function):
    """Weight and bias themselves. Their gradient is that of all uses."""

    @staticmethod
    def forward(ctx, weight: Tensor, bias: Tensor | None, uses: _Uses):
        ctx.uses = uses
        ctx.set_materialize_grads(False)
        return weight.view_as(weight), None if bias is None else bias.view_as(bias)

    @staticmethod
    def backward(ctx, *_):
        return *ctx.uses.take(), None


class _Product(torch.autograd.Function):
    """x W + b, whose gradient by W and b is left to the stand-ins."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, uses: _Uses):
        own, b = uses.values(x.dtype)
        assert own is not None
        ctx.uses = uses
        ctx.save_for_backward(x, own)
        if not uses.in_by_out:
            return F.linear(x, own, b)
        return x @ own if b is None else torch.addmm(b, x, own)

    @staticmethod
    def backward(ctx, dy: Tensor):
        (x, own), uses = ctx.saved_tensors, ctx.uses
        uses.leave(x, dy)
        return dy @ (own.T if uses.in_by_out else own) if ctx.needs_input_grad[0] else None, None, None, None


def _forward(module: Any, store: dict[nn.Module, _Uses], x: Float[Tensor, "*rows in"]) -> Float[Tensor, "*rows out"]:
    if not torch.is_grad_enabled():
        return type(module).forward(module, x)
    if module not in store:
        store[module] = _Uses(module)
    device = x.device.type
    flat = x.reshape(-1, x.shape[-1])
    flat = flat.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else flat
    found = _Product.apply(flat, *store[module].stand_ins, store[module])
    return found.view(*x.shape[:-1], found.shape[-1])


@contextlib.contextmanager
def one_product(model: nn.Module) -> Iterator[None]:
    """Within it, `model`'s linear layers get their gradients as described above; forward and backward both belong in it."""
    store: dict[nn.Module, _Uses] = {}
    linear: list[Any] = [one for one in model.modules() if type(one) in (Conv1D, nn.Linear)]
    trained = [one for one in linear if one.weight.requires_grad]
    for one in trained:
        one.forward = partial(_forward, one, store)
    try:
        yield
    finally:
        for one in trained:
            del one.forward
        for uses in store.values():  # they and their stand-ins hold each other
            uses.__dict__.clear()
