"""What counts as plumbing in a lesson, and what lessons share."""

from plumbing import read, shared

SOURCE = """import os
from latent_runs.lesson import Lesson
from latent_cot.models import build_reasoner

# what is taught
lesson = Lesson("x", globals())
history = lesson.train(
    reasoner)
if history:
    lesson.record(reasoner)
    print(history)
answer = len(lesson.problems)
build_reasoner(1, 2, 3, 4, 5, 6,
               seven=7)
"""


def test_what_is_plumbing(notebook):
    lesson = read(notebook("one", "a: int = 1\nb: int = 2  # said", SOURCE), "latent_runs")
    # Two parameters, three imports, the opening, a training on two lines, a record, a call with seven arguments on two lines.
    # Not: the condition, the printing, the length.
    assert (lesson.code, lesson.plumbing) == (14, 11)


def test_what_is_shared(notebook):
    block = "a = 1\nb = 2\nc = 3\nd = 4\ne = 5"
    one = read(notebook("one", "p: int = 1", f"import os\nz = 0\n{block}"), "latent_runs")
    two = read(notebook("two", "p: int = 1", block, "a = 1\nb = 2\n\nc = 3\nd = 4"), "latent_runs")
    three = read(notebook("three", "p: int = 1", "a = 1\nb = 2\nc = 3\nd = 5"), "latent_runs")
    assert shared([one, two, three]) == [("one", "two", tuple(block.splitlines()))]
