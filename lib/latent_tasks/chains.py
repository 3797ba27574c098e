"""The explicit chain in other words: what a written step says, from bare results to whole sentences.

CODI asks what a model gains from results alone ("Res": 5, 15, 7) or with their operators ("Op-Res": - 5, * 15, - 7), in
place of `<<12-7=5>> <<5*3=15>> <<15-8=7>>`, and how far thoughts compress a chain that is written out.
"""

import re
from dataclasses import replace

from latent_tasks.problem import DataError, Problem, Task

EQUATION = re.compile(r"<<(.+)=(.+)>>")
OPERATOR = re.compile(r"(?<=[\d.)%])\s*([-+*/])")  # behind a number: any other minus is a sign
SPOKEN = {"+": "plus", "-": "minus", "*": "times", "/": "over"}
SENTENCE = "now we take {} , which means that there are {} of them in all ."
CHAINS = {
    "results": lambda expression, result: result,
    "operators": lambda expression, result: " ".join([*OPERATOR.findall(expression), result]),
    "sentences": lambda expression, result: SENTENCE.format(
        OPERATOR.sub(lambda sign: f" {SPOKEN[sign[1]]} ", expression), result
    ),
}


def check_chain(chain: str) -> None:
    """Raise ValueError for an unknown chain."""
    if chain not in ("equations", *CHAINS):
        raise ValueError(f"unknown chain {chain!r}; known: equations, {', '.join(CHAINS)}")


def rewrite(task: Task, chain: str) -> Task:
    """The task with every step `<<expression=result>>` written as `CHAINS` says; "equations" leaves it as it is.

    Raises ValueError for an unknown chain, DataError for a step that is no equation.
    """
    check_chain(chain)
    if chain == "equations":
        return task

    def written(problem: Problem) -> Problem:
        steps = []
        for step in problem.steps:
            if not (equation := EQUATION.fullmatch(step.strip())):
                raise DataError(f"problem {problem.id!r}: {step!r} is no equation")
            steps.append(CHAINS[chain](*equation.groups()))
        return replace(problem, steps=tuple(steps))

    spoken = f"{SENTENCE} {' '.join(SPOKEN.values())}".replace("{}", "").replace(",", "").split()
    words = task.words and tuple(dict.fromkeys((*task.words, *spoken)))
    return replace(task, splits={split: tuple(map(written, problems)) for split, problems in task.splits.items()}, words=words)
