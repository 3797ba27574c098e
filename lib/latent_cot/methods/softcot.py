"""SoftCoT: a frozen assistant writes the thoughts of a frozen model (Xu et al., 2502.12134, section 3).

    s_1 … s_n = last-layer states of the assistant at n placeholders behind instruction and question
    z_i = W s_i + b                                          the only trained weights: one `nn.Linear`
    base model:  question | z_1 … z_n | rest of the chat template, steps, answer
    L = cross-entropy on steps and answer                    `methods.supervise_language`

The writing has no recurrence, so the thoughts are one block. A frozen assistant says the same in every epoch: its states
are computed once a problem. It reads from left to right, so the states at 4 placeholders are the first 4 of those at 32,
and training with more thoughts than are used later (32 and 4 in the paper) needs nothing special. The official prompt names
the number, though: there each number has states of its own (`SoftCoTOptions.number_in_prompt`).
SoftCoT++ gives the assistant several kinds of placeholders, for several thoughts to vote over, and pushes their
projections apart. The official loss and gradients are those of this module (see tests/test_parity.py).
"""

from collections.abc import Callable
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from latent_backbones.parts import body, state_width
from latent_cot.curriculum import Budget, all_steps
from latent_cot.evaluation import prompt
from latent_cot.families import layers_of, set_layers
from latent_cot.generation import answer
from latent_cot.methods import Method, method
from latent_cot.models import Reasoner
from latent_cot.sequences import Batch, Encoded, Layout, Sequence, check_length, collate, encode
from latent_cot.supervision import Losses, supervise_language
from latent_cot.thoughts import read
from latent_tasks import Problem, Task, names

HINT = "Give one short hint that helps to solve this problem. Do not solve it."


def instruction(task: Task) -> str:
    """What a chat model is told before a task's question, so that it reasons and its answer can be graded."""
    return f'Solve this problem step by step. Then write "The answer is: " and {task.grade.kind}.'


def chat_layout(tokenizer: PreTrainedTokenizerBase, instruct: str, placeholders: str = "") -> Layout:
    """The tokenizer's chat template, cut where the question and where the thoughts go.

    Thoughts, or `placeholders` in their place (CoT-Unk), begin a new line; where there are none the text is the template's
    own. Without a template (a plain LM) the prompt is instruction, question, new line.
    """
    before = f"{instruct}\n\n" if instruct else ""
    if tokenizer.chat_template is None:
        return Layout(question_start=before, question_end=f"\n{placeholders}")
    hole = "<question>"  # templates trim what they are given, so the hole comes last
    messages = [{"role": "user", "content": before + hole}]
    start, tail = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)).split(hole)
    if placeholders:
        return Layout(question_start=start, question_end=f"\n{placeholders}", tail=tail)
    return Layout(question_start=start, question_end="", thoughts_start="\n", tail=tail)


def assistant_layout(tokenizer: PreTrainedTokenizerBase, instruct: str, n_thoughts: int = 0) -> Layout:
    """The assistant's prompt up to its placeholders: as the base's, so that it has the same prompt for any number of thoughts.

    With `n_thoughts` as in the official code: it is told how many tokens to give, and gives them in its own turn.
    """
    if not n_thoughts:
        return chat_layout(tokenizer, instruct)
    asked = chat_layout(tokenizer, f"{instruct} First note in {n_thoughts} tokens what helps to solve it.".strip())
    return Layout(question_start=asked.question_start, question_end=asked.question_end + asked.tail)


def first_layers(reasoner: Reasoner, n_layers: int) -> Reasoner:
    """A smaller assistant out of a large one: its embeddings, first layers and last norm. Changes `reasoner`."""
    del layers_of(reasoner.lm)[n_layers:]
    set_layers(body(reasoner.lm).config, n_layers)
    return reasoner


def schooling(task: Task, who: Literal["base", "assistant"]) -> Seq[Problem]:
    """What a model from scratch learns from before it is frozen: the task's training problems.

    The method presumes that the assistant knows something. On most tasks it knows nothing that the base does not. On `names`
    it has learned what each name stands for and no arithmetic; the base has learned arithmetic with numbers that it is told.
    """
    problems = task.splits["train"]
    if task.name != "names":
        return problems
    return names.told(problems) if who == "base" else names.lore(problems)


@dataclass(frozen=True)
class Assistant:
    """A frozen LM, with a tokenizer and a prompt of its own, that leaves `n_thoughts` states a problem.

    `numbered` gives the prompt for a number of thoughts, where that names it: each number has states of its own (`asked_for`).
    """

    reasoner: Reasoner
    layout: Layout
    n_thoughts: int  # the most that are needed, in training or later
    placeholders: tuple[str, ...] = ()  # SoftCoT++: one token for each kind of start; (): <unk>, or padding
    batch_size: int = 32
    states: dict[str, Tensor] = field(default_factory=dict, repr=False)  # by question: kinds × thoughts × d
    numbered: Callable[[int], Layout] | None = None
    others: dict[int, "Assistant"] = field(default_factory=dict, repr=False)

    @property
    def width(self) -> int:
        return state_width(self.reasoner.lm)

    def asked_for(self, n_thoughts: int) -> "Assistant":
        """The assistant whose prompt is for so many thoughts: itself, unless the prompt names their number."""
        if self.numbered is None:
            return self
        if n_thoughts not in self.others:
            self.others[n_thoughts] = replace(self, layout=self.numbered(n_thoughts), n_thoughts=n_thoughts, states={})
        return self.others[n_thoughts]

    def encode(
        self, problems: Seq[Problem], tokenizer: PreTrainedTokenizerBase, layout: Layout = Layout(), kind: int = 0
    ) -> list[Encoded]:
        """`sequences.encode` for the base model, with the assistant's states; those of start `kind` come first.

        Raises ContextTooLong for a question that does not fit the assistant.
        """
        new = {p.question: p for p in problems if p.question not in self.states}
        self._read([*new.values()])
        encoded = encode(problems, tokenizer, layout)
        return [replace(e, states=self.states[p.question].roll(-kind, 0)) for e, p in zip(encoded, problems)]

    @torch.no_grad()
    def _read(self, problems: list[Problem]) -> None:
        """Fill `states`, batched by length."""
        lm, markers, tokenizer = self.reasoner.lm.eval(), self.reasoner.markers, self.reasoner.tokenizer
        default = tokenizer.unk_token or tokenizer.pad_token
        starts = [tokenizer.get_vocab()[start] for start in self.placeholders or (default,)]
        prompts = [Sequence(e.id, e.question, self.n_thoughts, ()) for e in encode(problems, tokenizer, self.layout)]
        for sequence in prompts:
            check_length(sequence, self.reasoner.context_length, who="the assistant")
        order = sorted(range(len(problems)), key=lambda i: len(prompts[i].question))
        for rows in (order[i : i + self.batch_size] for i in range(0, len(order), self.batch_size)):
            batch = collate([prompts[i] for i in rows], markers).to(next(lm.parameters()).device)
            context, _ = read(lm, self.reasoner.embed(batch.question), batch.question_mask)
            kinds = []
            for start in starts:  # they all go on from the same question
                held = torch.full((len(rows), self.n_thoughts), start, device=batch.question.device)
                kinds.append(read(lm, self.reasoner.embed(held), torch.ones_like(held, dtype=torch.bool), context)[1][-1])
            found = torch.stack(kinds, 1).to("cpu", next(lm.parameters()).dtype)
            self.states.update({problems[i].question: states for i, states in zip(rows, found)})

    def hint(
        self, problems: Seq[Problem], layout: Layout, max_new_tokens: int, wording: str = "{question}\nHint: {hint}"
    ) -> tuple[list[Problem], float]:
        """Assist-CoT: the problems, each with what the assistant, asked in `layout`, says to it in its question; and how many
        tokens it said to one."""
        encoded = encode(problems, self.reasoner.tokenizer, layout)
        said = answer(self.reasoner, [prompt(e, self.reasoner.markers, 0, marked=False) for e in encoded], max_new_tokens)
        hinted = [replace(p, question=wording.format(question=p.question, hint=a.text.strip())) for p, a in zip(problems, said)]
        return hinted, sum(a.n_tokens for a in said) / len(said)


def contrastive_loss(
    thoughts: Float[Tensor, "batch sets thoughts d"], n_problems: int, temperature: float = 0.1
) -> Float[Tensor, ""]:
    """SoftCoT++: a problem's thoughts of different starts are pushed apart (its own start is each one's only match).

    L = - 1/B sum_problems 1/K sum_k log [ exp(cos(z_k, z_k)/τ) / sum_j exp(cos(z_k, z_j)/τ) ]
    """
    unit = F.normalize(thoughts.flatten(2), dim=-1)
    alike = unit @ unit.transpose(1, 2) / temperature
    own = torch.arange(alike.shape[1], device=alike.device).expand(alike.shape[:2])
    return F.cross_entropy(alike.transpose(1, 2), own, reduction="sum") / (alike.shape[1] * n_problems)


def supervise_softcot(reasoner: Reasoner, batch: Batch, contrast_weight: float) -> Losses:
    """The language's cross-entropy, and SoftCoT++'s contrast between the starts."""
    losses = supervise_language(reasoner, batch)
    if contrast_weight:
        losses["contrast"] = contrast_weight * contrastive_loss(reasoner.writer(batch.states), batch.n_problems)
    return losses


@dataclass(frozen=True)
class SoftCoTOptions:
    n_thoughts: int = 4  # in training; paper: 32
    assistant: str = ""  # whose states these are: a run does not go on from another assistant's checkpoint
    number_in_prompt: bool = False  # tells the assistant how many thoughts to give, in its own turn; official code: True
    contrast_weight: float = 0.0  # SoftCoT++: pushes the thoughts of different placeholders apart


@method("SoftCoT", "05_softcot_projector")
def softcot(options: SoftCoTOptions, budget: Budget) -> Method:
    """One stage. Of several kinds of starts each visit of a problem trains one, in turn at random."""
    plain = all_steps(options.n_thoughts)

    def arrange(problem, markers, rng):
        sequence = plain(problem, markers, rng)
        return replace(sequence, states=sequence.states.roll(-rng.randrange(len(sequence.states)), 0))

    return Method(
        name="softcot",
        writer="assistant",
        curriculum=(budget.stage("softcot", arrange),),
        n_thoughts=options.n_thoughts,
        supervise=partial(supervise_softcot, contrast_weight=options.contrast_weight),
        thinks_between_markers=False,
        options=options,
    )
