"""Answering questions: think, then write, batched over problems with one cache."""

import zlib
from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from latent_cot.models import Reasoner
from latent_cot.sequences import Batch, Sequence, check_length, collate
from latent_cot.thoughts import Thinking, read, read_behind, read_given, select

Intervention = Callable[[Float[Tensor, "batch thoughts d"]], Float[Tensor, "batch thoughts d"]]


@dataclass(frozen=True)
class Sampling:
    """Greedy at temperature 0. CODI evaluates at .1 / 40 / .95, SoftCoT at 1 / – / 1."""

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Answer:
    id: str
    text: str
    tokens: tuple[int, ...]  # language written, end of sequence included
    thoughts: Float[Tensor, "thoughts d"]
    states: Float[Tensor, "thoughts+1 d_state"]  # that wrote each thought, and the one behind the last

    @property
    def n_tokens(self) -> int:
        """Positions spent after the question: thoughts, and language with its end. `<bot>`, `<eot>` and whatever else is
        forced there are not counted: the model does not decide them, and they are read with their neighbours."""
        return len(self.thoughts) + len(self.tokens)


def end_tokens(reasoner: Reasoner) -> set[int]:
    """The ids that end an answer: the tokenizer's end of sequence and all of the model's generation config (Llama 3's
    instruct models have three)."""
    config = getattr(reasoner.lm, "generation_config", None)
    ends = getattr(config, "eos_token_id", None)
    return {reasoner.markers.eos} | ({*ends} if isinstance(ends, list | tuple) else set() if ends is None else {ends})


def think_about(
    reasoner: Reasoner, batch: Batch, intervene: Intervention | None = None, leave_last: bool = False
) -> Thinking:
    """Read the questions and think; with `intervene`, once more, reading the thoughts that it returns instead. With
    `leave_last` what nothing waits for is left to `thoughts.read_behind`.

    Raises ValueError where it changes the number of thoughts of problems that do not all have equally many.
    """
    question, _ = read(reasoner.lm, reasoner.embed(batch.question), batch.question_mask)
    had = reasoner.think(question, batch, reasoner.stop, leave_last and intervene is None)
    if intervene is None or not had.thoughts.shape[1]:
        return had
    edited = intervene(had.thoughts)
    change = edited.shape[1] - had.thoughts.shape[1]
    if change and not had.real.all():
        raise ValueError("thoughts can be removed or added only where all problems of a batch have equally many")
    return read_given(reasoner.lm, question, had.real.sum(1) + change, edited, leave_last)


@torch.no_grad()  # in inference mode autocast would cast every weight again at every token
def answer_batch(
    reasoner: Reasoner,
    prompts: Seq[Sequence],
    max_new_tokens: int,
    sampling: Sampling = Sampling(),
    intervene: Intervention | None = None,
) -> list[Answer]:
    """Answer prompts (`Sequence`s whose language is what is forced after the thoughts, usually <eot> or nothing).

    Finished problems leave the batch, a quarter of it at a time. `intervene` rewrites the thoughts of the whole batch before
    they are read.
    Raises ContextTooLong if a prompt and its answer cannot fit.
    """
    for prompt in prompts:
        check_length(prompt, reasoner.context_length, max_new_tokens)
    device = next(reasoner.parameters()).device
    batch = collate(prompts, reasoner.markers).to(device)
    had = think_about(reasoner, batch, intervene, leave_last=True)
    if batch.language.ids.shape[1] or had.states.shape[1] <= had.thoughts.shape[1]:
        had, _, _ = read_behind(reasoner.lm, had, reasoner.embed(batch.language.ids), batch.language.mask)
    context, head = had.context, reasoner.head

    warpers: Any = LogitsProcessorList()
    if sampling.temperature:
        warpers.append(TemperatureLogitsWarper(sampling.temperature))
        warpers += [TopKLogitsWarper(sampling.top_k)] if sampling.top_k else []
        warpers += [TopPLogitsWarper(sampling.top_p)] if sampling.top_p < 1 else []
    # A problem has its own random numbers, in (0, 1], so that it is answered alike alone and in company. Without an id it is
    # known by its question.
    keys = [f"{sampling.seed}/{prompt.id or prompt.question}".encode() for prompt in prompts]
    generators = [torch.Generator().manual_seed(zlib.crc32(key)) for key in keys]
    draws = torch.stack([1 - torch.rand(max_new_tokens, generator=own, device="cpu") for own in generators]).to(device)
    written: list[list[int]] = [[] for _ in prompts]
    rows, ends = torch.arange(len(prompts), device=device), end_tokens(reasoner)
    for i in range(max_new_tokens):
        logits = head(context.hidden).float()
        if sampling.temperature:
            cumulative = warpers(batch.question[rows], logits).softmax(-1).cumsum(-1)
            token = (cumulative < draws[rows, i, None] * cumulative[:, -1:]).sum(-1)  # rounding leaves the sum beside 1
        else:
            token = logits.argmax(-1)
        going: list[int] = []
        for place, (row, t) in enumerate(zip(rows.tolist(), token.tolist())):
            if not written[row] or written[row][-1] not in ends:
                written[row].append(t)
                going += [place] * (t not in ends)
        if not going or i + 1 == max_new_tokens:
            break
        if len(going) <= 0.75 * len(rows):  # each time the cache is copied
            left = torch.tensor(going, device=device)
            rows, token, context = rows[left], token[left], select(context, left)
        context, _ = read(reasoner.lm, reasoner.embed(token[:, None]), None, context)
    answers = []
    for prompt, tokens, z, h, n in zip(prompts, written, had.thoughts, had.states, had.real.sum(1)):
        said = tokens[:-1] if tokens and tokens[-1] in ends else tokens  # an end need not be a special token
        text = str(reasoner.tokenizer.decode(said, skip_special_tokens=True))
        answers.append(Answer(prompt.id, text, tuple(tokens), z[:n], h[: n + 1]))
    return answers


def answer(
    reasoner: Reasoner,
    prompts: Seq[Sequence],
    max_new_tokens: int,
    batch_size: int = 64,
    sampling: Sampling = Sampling(),
    intervene: Intervention | None = None,
) -> list[Answer]:
    """Answer any number of prompts, batched by length; answers come back in the prompts' order.

    Batches differ by at most one problem in size, so that an intervention that swaps thoughts meets a lone one only at
    a `batch_size` of one or two.
    """
    was_training = reasoner.training
    reasoner.eval()
    by_length = sorted(range(len(prompts)), key=lambda i: len(prompts[i].question))
    n_batches = -(-len(prompts) // batch_size)
    answers: dict[int, Answer] = {}
    for part in torch.tensor(by_length).tensor_split(n_batches):
        batch = [prompts[i] for i in part.tolist()]
        for i, result in zip(part.tolist(), answer_batch(reasoner, batch, max_new_tokens, sampling, intervene)):
            answers[i] = result
    reasoner.train(was_training)
    return [answers[i] for i in range(len(prompts))]
