"""The latent loop.

Every method in this repository answers `question | thoughts | language`. A *thought* is an input position that no
text token wrote: its embedding comes from a `Writer` (`writers`). The loop `think` below is the only one in which each
thought waits for the one before; it is batched, cached and differentiable, so training, generation and probing call it.

Papers: Coconut (arXiv 2412.06769, section 3), CODI (2502.21074, section 3), pause tokens (2310.02226).
Where the official code differs: Coconut re-splits the whole padded batch at every thought and logs logits everywhere;
CODI drops the attention mask after the question (see `codi.CodiOptions.attend_to_padding`). Positions and attention
here count real tokens only, so that a problem's thoughts are the same alone and in a batch.

Shape letters: batch = problems, new = columns read now, seen = columns read so far, d = width of the embeddings,
d_state = width of the last states (the same, but in models like OPT-350m the levels between have another).
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import DynamicCache

from latent_backbones.columns import close_up, empty_cache, fork, in_order, stand_together
from latent_backbones.parts import LanguageModel, body, embeddings_of, state_width

Writer = Callable[[Float[Tensor, "batch d_state"], int], Float[Tensor, "batch d"]]  # (last hidden state, i) -> thought i


@dataclass(frozen=True)
class Context:
    """What a language model has read so far. A value: reading on returns a new one and leaves this one usable."""

    cache: DynamicCache
    mask: Bool[Tensor, "batch seen"]  # False where a column is padding for that problem
    hidden: Float[Tensor, "batch d_state"]  # last hidden state at each problem's last real position
    flush: bool = False  # known without a look at the device: the last column is real for every problem


@functools.cache
def _takes_positions(transformer: Callable) -> bool:
    """Families with ALiBi (BLOOM, MPT) have no position ids: they count for themselves."""
    return "position_ids" in inspect.signature(transformer).parameters


def read(
    lm: LanguageModel,
    embeds: Float[Tensor, "batch new d"],
    mask: Bool[Tensor, "batch new"] | None,
    context: Context | None = None,
    positions: Int[Tensor, "batch new"] | None = None,
) -> tuple[Context, tuple[Float[Tensor, "batch new _"], ...]]:
    """Read input embeddings after `context`; return the longer context and the hidden states of every level.

    Levels are the embedding output and each layer's output, the last one after the final norm. Problems may be padded
    on either side; without a mask all is real, and between reads of this kind nobody waits for the device. `positions`
    overrides the count of real tokens.
    """
    embeds = embeds.to(embeddings_of(lm).dtype)  # a thought is in its writer's own, where frozen weights are in bf16
    if context is None:
        empty = embeds.new_zeros(embeds.shape[0], 0, dtype=torch.bool)
        context = Context(empty_cache(), empty, embeds.new_zeros(embeds.shape[0], state_width(lm)), flush=True)
    solid = mask is None
    mask = embeds.new_ones(embeds.shape[:2], dtype=torch.bool) if mask is None else mask
    if positions is None:
        positions = (context.mask.sum(1, keepdim=True) + mask.cumsum(1) - 1).clamp(min=0)
    seen = torch.cat([context.mask, mask], dim=1)
    if not (solid and context.flush or stand_together(seen)):  # close the holes in what was seen, read new tokens next to it
        order = mask.long().argsort(dim=1, descending=True, stable=True)
        closed = Context(*close_up(context.cache, context.mask), context.hidden)
        moved = in_order(embeds, order), in_order(mask, order), closed, in_order(positions, order)
        context, levels = read(lm, *moved)
        return context, tuple(in_order(level, order.argsort(1)) for level in levels)
    cache, transformer = fork(context.cache), body(lm)
    output = transformer(
        inputs_embeds=embeds,
        attention_mask=seen.long(),
        past_key_values=cache,
        use_cache=True,
        output_hidden_states=True,
        **({"position_ids": positions} if _takes_positions(type(transformer).forward) else {}),
    )
    levels = *output.hidden_states[:-1], output.last_hidden_state
    hidden = levels[-1][:, -1] if solid else last_real(levels[-1], mask, context.hidden)
    return Context(cache, seen, hidden, flush=solid), levels


def last_real(
    states: Float[Tensor, "batch new d_state"], mask: Bool[Tensor, "batch new"], before: Float[Tensor, "batch d_state"]
) -> Float[Tensor, "batch d_state"]:
    """Each problem's state at its last real column, or where it has none, the one before."""
    column = mask.long().cumsum(1).argmax(1)  # the first maximum of the running count
    found = states[torch.arange(len(states), device=states.device), column]
    return torch.where(mask.any(1, keepdim=True), found, before.to(found.dtype))


@dataclass(frozen=True)
class Thinking:
    """The thoughts of a batch, and what they were made of. Problems with fewer thoughts idle in masked columns.

    Where thoughts were left unread, for `read_behind` to read them together with what follows, states end before them.
    """

    context: Context  # after the thoughts that were read
    thoughts: Float[Tensor, "batch thoughts d"]
    real: Bool[Tensor, "batch thoughts"]  # which of them each problem really had
    states: Float[Tensor, "batch wrote d_state"]  # h_0, which wrote the first thought, to h_n behind the last one read


def think(
    lm: LanguageModel,
    context: Context,
    n_thoughts: Int[Tensor, " batch"],
    write: Writer,
    stop: Callable[[Float[Tensor, "batch d_state"]], Bool[Tensor, " batch"]] | None = None,
    leave_last: bool = False,
) -> Thinking:
    """The latent loop: `n_thoughts` times, the writer turns the last hidden state into the next input.

    z_{i+1} = write(h_i),   h_{i+1} = LM(question, z_1 … z_{i+1})        (Coconut: write = identity; CODI: projection)

    `stop` may end a problem's thinking early, after at least one thought. With `leave_last` the last thought is written and
    not read (nothing can stop it then).
    """
    thoughts, real, states = [], [], [context.hidden]
    fewest = int(n_thoughts.min()) if stop is None else 0  # asked before the loop: in it nobody waits for the device
    most = int(n_thoughts.max())
    for i in range(most):
        thinking = n_thoughts > i
        if stop is not None and not thinking.any():
            break
        thought = write(context.hidden, i)
        thoughts.append(thought)
        real.append(thinking)
        if leave_last and stop is None and i + 1 == most:
            break
        mask = None if i < fewest else thinking[:, None]
        context, _ = read(lm, thought[:, None], mask, context)
        if stop is not None:
            n_thoughts = torch.where(stop(context.hidden), n_thoughts.clamp(max=i + 1), n_thoughts)
        states.append(context.hidden)
    if not thoughts:
        none = _real(n_thoughts, 0)
        return Thinking(context, context.hidden[:, None][:, :0], none, context.hidden[:, None])
    return Thinking(context, torch.stack(thoughts, 1), torch.stack(real, 1), torch.stack(states, 1))


def think_in_parallel(
    lm: LanguageModel, context: Context, n_thoughts: Int[Tensor, " batch"], write: Writer, iterations: int
) -> Thinking:
    """PCCoT's Jacobi iterations: all thoughts are written at once, several times over (Wu et al., 2506.18582).

    z_{i+1}^(t+1) = write(h_i^(t)),   h_i^(t) = LM(question, z_1^(t) … z_i^(t)),   h_i^(0) = h_0, the question's state

    An iteration reads all thoughts in one pass. The first i of them are final after i iterations: with as many iterations
    as thoughts this is `think`, with fewer it costs fewer passes. `states` are those that wrote the thoughts.
    """
    width = int(n_thoughts.max())
    if not width:
        return think(lm, context, n_thoughts, write)
    behind = context.hidden[:, None].expand(-1, width + 1, -1)
    for _ in range(iterations):
        written_by, thoughts = behind, torch.stack([write(behind[:, i], i) for i in range(width)], 1)
        read_once = read_given(lm, context, n_thoughts, thoughts)
        behind = read_once.states
    wrote = _real(n_thoughts, width + 1)[..., None]  # all states but that behind a problem's last thought
    return replace(read_once, states=torch.where(wrote, written_by, behind))


def read_given(
    lm: LanguageModel, context: Context, n_thoughts: Int[Tensor, " batch"], thoughts: Float[Tensor, "batch held d"],
    leave: bool = False,
) -> Thinking:  # fmt: skip
    """Thoughts that are there already (an assistant's, another problem's, a mean) are read as one block, or left to
    `read_behind`."""
    thoughts = thoughts[:, : int(n_thoughts.max())].to(context.hidden.dtype)
    real, before = _real(n_thoughts, thoughts.shape[1]), context.hidden[:, None]
    if leave or not real.shape[1]:
        return Thinking(context, thoughts, real, before)
    context, levels = read(lm, thoughts, real, context)
    return Thinking(context, thoughts, real, torch.cat([before, levels[-1]], 1))


def read_behind(
    lm: LanguageModel, had: Thinking, embeds: Float[Tensor, "batch l d"], mask: Bool[Tensor, "batch l"]
) -> tuple[Thinking, Float[Tensor, "batch d_state"], tuple[Float[Tensor, "batch l _"], ...]]:
    """Read thoughts that were left and, in the same pass, what follows them: a pass less than one after the other.

    Returns the thoughts with all states and the context after all, each problem's state behind its last thought, and the
    levels of what follows.
    """
    n_read = had.states.shape[1] - 1
    left, real = had.thoughts[:, n_read:].to(embeds.dtype), had.real[:, n_read:]
    context, levels = read(lm, torch.cat([left, embeds], 1), torch.cat([real, mask], 1), had.context)
    n_left, states = left.shape[1], levels[-1]
    behind = last_real(states[:, :n_left], real, had.context.hidden) if n_left else had.context.hidden
    had = replace(had, context=context, states=torch.cat([had.states, states[:, :n_left]], 1))
    return had, behind, tuple(level[:, n_left:] for level in levels)


def _real(n_thoughts: Int[Tensor, " batch"], width: int) -> Bool[Tensor, "batch thoughts"]:
    return torch.arange(width, device=n_thoughts.device) < n_thoughts[:, None]


def select(context: Context, rows: Int[Tensor, " kept"]) -> Context:
    """Only some problems of a context, in the given order."""
    cache = fork(context.cache)
    cache.batch_select_indices(rows)
    return Context(cache, context.mask[rows], context.hidden[rows], context.flush)


def with_padding_visible(context: Context) -> Context:
    """The context as the official CODI code sees it after the question: padding attended to and counted."""
    return replace(context, mask=torch.ones_like(context.mask))
