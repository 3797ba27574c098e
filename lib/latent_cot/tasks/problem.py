"""The record every task speaks, and how generated problems are dealt into splits.

A generated problem belongs to a split because of what it *means* (its numbers and operations, its graph and
query), never because of its wording or of the seed that drew it: a stable hash of the meaning picks one of 100
buckets, 0-1 are test, 2-3 valid, the rest train. So splits are disjoint whatever the sizes and the seeds.
"""

import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

DEFAULT_SIZES = {"train": 10_000, "valid": 500, "test": 500}
Draft = TypeVar("Draft")


class DataError(ValueError):
    """A malformed record; the message names the file and the line (or the number of the record)."""


@dataclass(frozen=True)
class Problem:
    """One question with its explicit steps and its answer; `id` says where it comes from."""

    question: str
    steps: tuple[str, ...]
    answer: str
    id: str = ""


@dataclass(frozen=True)
class Task:
    """Named splits of problems, and how an answer is graded.

    `grade` takes the text a model wrote after its thoughts, and the problem. `words` is the closed vocabulary of
    a generated miniature task; None means that a pretrained tokenizer is needed. `report` counts, per split,
    what was dropped and why.
    """

    name: str
    splits: dict[str, tuple[Problem, ...]]
    grade: Callable[[str, Problem], bool]
    words: tuple[str, ...] | None = None
    report: dict[str, dict[str, int]] = field(default_factory=dict)

    @cached_property
    def fingerprint(self) -> str:
        """First 16 hex digits of the sha256 over all problems' questions, steps and answers."""
        digest = hashlib.sha256()
        for split in sorted(self.splits):
            for problem in self.splits[split]:
                fields = (split, problem.question, *problem.steps, problem.answer)
                digest.update("\x1f".join(fields).encode() + b"\x1e")
        return digest.hexdigest()[:16]


def split_of(meaning: str) -> str:
    """The split that a problem with this meaning belongs to."""
    bucket = int.from_bytes(hashlib.sha256(meaning.encode()).digest()[:8]) % 100
    return "test" if bucket < 2 else "valid" if bucket < 4 else "train"


def deal(
    name: str,
    sizes: Mapping[str, int] | None,
    seed: int,
    sample: Callable[[random.Random], tuple[str, Draft]],
    write: Callable[[Draft, random.Random, str], Problem],
    rename: Callable[[Draft, random.Random], tuple[str, Draft]] | None = None,
) -> dict[str, tuple[Problem, ...]]:
    """Draw (meaning, draft) pairs from `sample`, keep those of each split, and have `write` word them.

    Every split has its own random stream, so its first n problems do not depend on the other sizes. Valid and
    test hold each meaning once; train is an independent sample and may repeat one in other words. Where drawing is
    slow, `rename` gives a draft that missed its split other names instead.
    Raises ValueError for an unknown split, and when a split has fewer distinct meanings than asked for.
    """
    sizes = DEFAULT_SIZES if sizes is None else sizes
    if unknown := set(sizes) - set(DEFAULT_SIZES):
        raise ValueError(f"{name}: unknown splits {sorted(unknown)}; known: {sorted(DEFAULT_SIZES)}")
    splits = {}
    for split, size in sizes.items():
        rng = random.Random(f"{name}/{split}/{seed}")
        problems: list[Problem] = []
        seen: set[str] = set()
        misses = 0
        while len(problems) < size:
            meaning, draft = rename(draft, rng) if rename and misses % 1000 else sample(rng)
            if split_of(meaning) != split or meaning in seen:
                misses += 1
                if misses > 20_000:  # a fresh meaning lands in a given split every 50 draws
                    raise ValueError(f"{name}: {split} has only about {len(problems)} distinct problems")
                continue
            misses = 0
            if split != "train":
                seen.add(meaning)
            problems.append(write(draft, rng, f"{name}/{split}/{len(problems)}"))
        splits[split] = tuple(problems)
    return splits
