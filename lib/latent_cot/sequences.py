"""`question | thoughts | language` → token ids → a padded batch.

`encode` tokenises a problem once, piece by piece, so that a curriculum can later drop pieces without changing the
rest; `collate` pads questions on the left and language on the right, so that thoughts sit between them in one block.

Shape letters: batch = problems, q = longest question, l = longest language.
"""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field, is_dataclass, replace
from itertools import chain

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from latent_backbones.tokens import Markers
from latent_tasks import Problem

IGNORED = -100  # the label of a position that is not supervised (PyTorch's convention)


@dataclass(frozen=True)
class Layout:
    """How a problem is written. Defaults: CODI's answer prompt; Coconut writes "### " and ends lines with newlines."""

    answer_prompt: str = "The answer is:"
    question_end: str = "\n"
    step_end: str = "\n"
    question_start: str = ""  # what a chat template and an instruction put before the question
    tail: str = ""  # what a chat template puts after the thoughts, before the language; not in CODI's sequences
    thoughts_start: str = ""  # behind the question where thoughts follow, and only there
    steps_between: str = ""  # before each step but the first
    bos: bool = False  # the question begins with the token that the tokenizer puts before a text, if it has one (Llama's)


JOINED = Layout(question_end="", step_end="", steps_between=" ")  # CODI's on GSM8k: nothing behind the question, one line


@dataclass(frozen=True)
class Encoded:
    """A problem in token ids; nothing is decided yet about thoughts or what language remains."""

    id: str
    question: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]
    answer: tuple[int, ...]  # answer prompt, answer, end of sequence
    door: int  # index in `answer` of the token whose state predicts the answer's first character
    tail: tuple[int, ...] = ()  # read after the thoughts, never learned
    states: Tensor | None = field(default=None, repr=False)  # SoftCoT: sets × thoughts × d of the assistant
    alone: tuple[int, ...] | None = None  # the question where no thoughts follow, if that makes a difference (a chat template)

    def before(self, n_thoughts: int) -> tuple[int, ...]:
        """The question as it stands before so many thoughts."""
        return self.question if n_thoughts or self.alone is None else self.alone

    @property
    def n_tokens(self) -> int:
        """With all its steps in language."""
        return len(self.question) + len(self.tail) + sum(map(len, self.steps)) + len(self.answer)


@dataclass(frozen=True)
class Sequence:
    """What one problem looks like at one stage of a curriculum: question | n thoughts | language."""

    id: str
    question: tuple[int, ...]
    n_thoughts: int
    language: tuple[int, ...]
    n_unsupervised: int = 0  # leading language tokens that are read but not learned (the end-of-thought marker, the tail)
    door: int = 0  # index in `language`
    teacher: tuple[int, ...] = ()  # CODI: the explicit language that the same model learns from the same question
    teacher_door: int = 0
    states: Tensor | None = field(default=None, repr=False)  # SoftCoT: what the thoughts are made of
    said: tuple[tuple[int, ...], ...] = ()  # SIM-CoT: by thought, the step that it stands for, if any


@dataclass(frozen=True)
class Language:
    """A right-padded block of language. `n_supervised` counts the whole global batch, so that losses of micro-batches
    and processes add up to the loss of the batch."""

    ids: Int[Tensor, "batch l"]
    mask: Bool[Tensor, "batch l"]
    labels: Int[Tensor, "batch l"]
    door: Int[Tensor, " batch"]
    n_supervised: int


@dataclass(frozen=True)
class Batch:
    ids: tuple[str, ...]
    question: Int[Tensor, "batch q"]  # left-padded
    question_mask: Bool[Tensor, "batch q"]
    n_thoughts: Int[Tensor, " batch"]
    language: Language
    teacher: Language | None
    n_problems: int  # in the global batch
    said: Int[Tensor, "batch thoughts l_step"]  # labels: the step that a thought stands for
    n_said: int  # tokens of all those steps, in the global batch
    states: Float[Tensor, "batch sets held d_assistant"] | None = None  # SoftCoT; as many held as any stage needs

    def rows(self, rows: slice) -> "Batch":
        """A micro-batch, or one process's share; the global counts stay."""
        return _each_tensor(replace(self, ids=self.ids[rows]), lambda tensor: tensor[rows])

    def to(self, device: torch.device | str) -> "Batch":
        return _each_tensor(self, lambda tensor: tensor.to(device))


def _each_tensor(item, change: Callable[[Tensor], Tensor]):
    """A dataclass with `change` applied to every tensor in it and in the blocks that it holds."""

    def changed(value):
        return change(value) if isinstance(value, Tensor) else _each_tensor(value, change) if is_dataclass(value) else value

    return replace(item, **{name: changed(value) for name, value in vars(item).items()})


class ContextTooLong(ValueError):
    """A problem does not fit the model's context."""


def encode(problems: Seq[Problem], tokenizer: PreTrainedTokenizerBase, layout: Layout = Layout()) -> list[Encoded]:
    """Token ids of problems.

    The door is the token before the one that holds the answer's first character: ':' for GPT-2, the space after it
    for tokenizers that split " 18" into " " and digits (CODI, appendix; the official code adds 1 for Llama and Qwen).
    """

    backend = tokenizer.backend_tokenizer  # the Rust tokenizer itself: ten times faster than through dictionaries

    def tokenize(texts: list[str]) -> list[tuple[int, ...]]:
        once = list(dict.fromkeys(texts))  # generated problems have few different steps
        ids = {t: tuple(e.ids) for t, e in zip(once, backend.encode_batch_fast(once, add_special_tokens=False))}
        return [ids[text] for text in texts]

    whole = [layout.question_start + p.question + layout.question_end for p in problems]
    begin = tuple(i for i in tokenizer("").input_ids[:1] if layout.bos and i == tokenizer.bos_token_id)
    questions = [begin + ids for ids in tokenize([text + layout.thoughts_start for text in whole])]
    alone = [begin + ids for ids in tokenize(whole)] if layout.thoughts_start else [None] * len(whole)
    (tail,) = tokenize([layout.tail])
    between = [layout.steps_between * (i > 0) for p in problems for i, _ in enumerate(p.steps)]
    steps = iter(tokenize([a + step + layout.step_end for a, step in zip(between, (s for p in problems for s in p.steps))]))
    texts = [f"{layout.answer_prompt} {p.answer}" for p in problems]
    once = list(dict.fromkeys(texts))
    answers = {}
    for text, tokens in zip(once, backend.encode_batch(once, add_special_tokens=False)):
        first = len(f"{layout.answer_prompt} ")
        holds_answer = next(j for j, (_, end) in enumerate(tokens.offsets) if end > first)
        answers[text] = (*tokens.ids, tokenizer.eos_token_id), holds_answer - 1
    encoded = []
    for i, problem in enumerate(problems):
        answer, door = answers[texts[i]]
        encoded.append(
            Encoded(
                id=problem.id,
                question=questions[i],
                steps=tuple(next(steps) for _ in problem.steps),
                answer=answer,
                door=door,
                tail=tail,
                alone=alone[i],
            )
        )
    return encoded


def check_length(sequence: Sequence, context_length: int, new_tokens: int = 0, who: str = "the model") -> None:
    """Raise ContextTooLong, with the problem's id and length, if a sequence cannot fit."""
    length = len(sequence.question) + sequence.n_thoughts + max(len(sequence.language), len(sequence.teacher)) + new_tokens
    if length > context_length:
        raise ContextTooLong(f"problem {sequence.id!r} needs {length} positions, {who} has {context_length}")


def _pad(rows: Seq[Seq[int]], pad: int, left: bool = False) -> tuple[Tensor, Tensor]:
    lengths = torch.tensor([len(row) for row in rows])
    columns = torch.arange(int(lengths.max()))
    mask = columns >= len(columns) - lengths[:, None] if left else columns < lengths[:, None]
    ids = torch.full(mask.shape, pad)
    ids[mask] = torch.tensor([*chain.from_iterable(rows)], dtype=torch.long)
    return ids, mask


def _language(rows: Seq[Seq[int]], n_unsupervised: Seq[int], doors: Seq[int], pad: int) -> Language:
    ids, mask = _pad(rows, pad)
    supervised = mask & (torch.arange(ids.shape[1]) >= torch.tensor(n_unsupervised)[:, None])
    labels = ids.masked_fill(~supervised, IGNORED)
    return Language(ids, mask, labels, torch.tensor(doors), int(supervised.sum()))


def collate(sequences: Seq[Sequence], markers: Markers) -> Batch:
    """Pad sequences into a batch: questions end in the same column, language starts in the same column."""
    question, question_mask = _pad([s.question for s in sequences], markers.pad, left=True)
    unsupervised, no_prefix = [s.n_unsupervised for s in sequences], [0] * len(sequences)
    teacher = None
    if any(s.teacher for s in sequences):
        teacher = _language([s.teacher for s in sequences], no_prefix, [s.teacher_door for s in sequences], markers.pad)
    said, wide = [s.said[: s.n_thoughts] for s in sequences], max(s.n_thoughts for s in sequences)
    long = max((len(step) for steps in said for step in steps), default=0)
    padded = [[(*t, *[IGNORED] * (long - len(t))) for t in (*steps, *[()] * (wide - len(steps)))] for steps in said]
    return Batch(
        ids=tuple(s.id for s in sequences),
        question=question,
        question_mask=question_mask,
        n_thoughts=torch.tensor([s.n_thoughts for s in sequences]),
        language=_language([s.language for s in sequences], unsupervised, [s.door for s in sequences], markers.pad),
        teacher=teacher,
        n_problems=len(sequences),
        states=None if sequences[0].states is None else torch.stack([s.states for s in sequences if s.states is not None]),
        said=torch.tensor(padded, dtype=torch.long).reshape(len(sequences), wide, long),
        n_said=sum(len(step) for steps in said for step in steps),
    )


def length_grouped(
    lengths: Seq[tuple[int, int]], batch_size: int, generator: torch.Generator, window: int = 400
) -> list[list[int]]:
    """Shuffled batches of indices in which questions are alike in length, and what follows them, too: they are padded apart.

    Shuffle, cut into windows of so many batches, halve each again and again by the length that differs most, shuffle the
    batches. Real word problems then have 3 to 5 % padding, if there are enough to fill a window. A last incomplete batch is
    kept.
    """

    def halved(rows: list[int]) -> list[list[int]]:
        if len(rows) <= batch_size:
            return [rows]
        spread = [max(lengths[i][part] for i in rows) - min(lengths[i][part] for i in rows) for part in (0, 1)]
        rows = sorted(rows, key=lambda i: lengths[i][spread.index(max(spread))])
        half = batch_size * max(1, len(rows) // (2 * batch_size))
        return halved(rows[:half]) + halved(rows[half:])

    order, size = torch.randperm(len(lengths), generator=generator).tolist(), window * batch_size
    batches = [batch for start in range(0, len(order), size) for batch in halved(order[start : start + size])]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]
