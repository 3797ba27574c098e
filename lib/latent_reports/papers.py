"""The papers' own numbers, as data: each with its source and a mark that says how far to trust it.

Marks: V read in the paper, 2 quoted from a later paper, R recalled and not checked.
A cell is `accuracy[±spread][/new tokens] mark`, or `-` where a paper gives none. A further table is a further entry of
`TABLES`; whoever looks a number up gets the one of the first table that has it.
"""

import re
from dataclasses import dataclass
from typing import Literal

Mark = Literal["V", "2", "R"]
MARKS: dict[str, str] = {"V": "read in the paper", "2": "quoted from a later paper", "R": "recalled, not checked"}
TRAIN_PROBLEMS = {"GSM8k": 385_620, "ProntoQA": 9_000, "ProsQA": 17_886}  # Coconut, section 4.1 (V); GSM8k is -Aug
METHODS = {
    "no_cot": "No-CoT", "no_cot_long": "No-CoT (total budget)", "cot": "CoT", "pause": "Pause tokens", "icot": "iCoT",
    "coconut": "Coconut", "no_curriculum": "– without curriculum", "no_thought": "– without thought",
    "pause_as_thought": "– pause as thought", "codi": "CODI",
    "coconut_mixed": "Coconut, mixed stages", "pause_mixed": "– pauses, mixed stages",
}  # fmt: skip
FROZEN = {  # rows of SoftCoT's tables: the base model is frozen but for LoRA
    "zero_shot": "Zero-shot CoT", "cot_unk": "CoT-Unk: raw placeholders", "assist_cot": "Assist-CoT: a hint in words",
    "softcot": "SoftCoT", "swapped": "– thoughts swapped between problems", "mean": "– all thoughts the mean",
    "softcot_base": "– assistant = base", "softcot_smaller": "– assistant smaller", "softcot_random": "– assistant random",
    "prompt": "Prompt tuning, no assistant", "lora": "LoRA fine-tuning", "coconut_lora": "Coconut (LoRA)",
}  # fmt: skip
FROZEN_BENCHMARKS = {  # task: what the paper calls it
    "arithmetic": "GSM8K", "gsm8k": "GSM8K", "gsm8k-aug": "GSM8K", "asdiv": "ASDiv-Aug", "asdiv-aug": "ASDiv-Aug",
    "aqua": "AQuA", "strategyqa": "StrategyQA", "date-understanding": "Date Understanding",
}  # fmt: skip
LLAMA_1B = "LLaMA-3.2-1B"
SECTIONS = {  # title, and the benchmark and the model of the papers beside it
    "arithmetic": ("Arithmetic, GSM8k-Aug in miniature", "GSM8k", "GPT-2"),
    "graph": ("Graph search, ProsQA in miniature", "ProsQA", "GPT-2"),
    "prontoqa": ("Deduction, ProntoQA", "ProntoQA", "GPT-2"),
    "gsm8k": ("GSM8K, the real problems", "GSM8k", "GPT-2"),
    "prosqa": ("ProsQA", "ProsQA", "GPT-2"),
    "prosqa_mixed": ("ProsQA, other stages mixed in: the model of the planning analysis", None, "GPT-2"),
    "gpt2_aug": ("GSM8k-Aug, GPT-2 with LoRA", "GSM8k", "GPT-2"),
    "gpt2_nl": ("GSM8k-Aug-NL, GPT-2", "GSM8k-NL", "GPT-2"),
    "gpt2_csqa": ("CommonsenseQA, GPT-2", None, "GPT-2"),
    "llama_aug": ("GSM8k-Aug, LLaMA-3.2-1B", "GSM8k", LLAMA_1B),
    "llama_nl": ("GSM8k-Aug-NL, LLaMA-3.2-1B", "GSM8k-NL", LLAMA_1B),
    "llama_csqa": ("CommonsenseQA, LLaMA-3.2-1B", None, LLAMA_1B),
    "llama3b": ("Larger models: GSM8k-Aug, LLaMA-3.2-3B", "GSM8k", "LLaMA-3.2-3B"),
    "llama8b": ("Larger models: GSM8k-Aug, LLaMA-3-8B", "GSM8k", "LLaMA-3-8B"),
    "arithmetic2": ("Arithmetic with two layers and two to four steps: a counter-example", None, "GPT-2"),
}
_CELL = re.compile(r"(?P<accuracy>\d+\.\d+)(?:±(?P<spread>\d+\.\d+))?(?:/(?P<tokens>\d+\.\d+))? (?P<mark>[V2R])")


@dataclass(frozen=True)
class PaperValue:
    """One number of one paper: accuracy in %, its spread over runs, and new tokens per answer where given."""

    method: str
    benchmark: str
    model: str
    accuracy: float
    spread: float | None
    tokens: float | None
    mark: Mark
    source: str

    def __str__(self) -> str:
        return f"{self.accuracy}" + (f" ± {self.spread}" if self.spread is not None else "") + f" ({self.mark})"


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper. `rows`: `method | cell | cell …`, a cell for each benchmark."""

    source: str
    model: str
    benchmarks: tuple[str, ...]
    rows: str

    def values(self) -> list[PaperValue]:
        """The table's numbers. Raises `ValueError` for a cell that is malformed or carries no mark."""
        found = []
        for line in self.rows.strip().splitlines():
            method, *cells = (cell.strip() for cell in line.split("|"))
            for benchmark, cell in zip(self.benchmarks, cells, strict=True):
                if cell != "-":
                    if not (match := _CELL.fullmatch(cell)):
                        raise ValueError(f"{self.source}, {method}, {benchmark}: {cell!r} is malformed or has no mark")
                    numbers = (number and float(number) for number in match.groups()[:3])
                    found.append(PaperValue(method, benchmark, self.model, *numbers, match["mark"], self.source))
        return found


TABLES = (
    PaperTable(
        "Coconut, arXiv 2412.06769, Table 1",  # iCoT on GSM8k is quoted there from Deng et al., 2405.14838
        "GPT-2",
        ("GSM8k", "ProntoQA", "ProsQA"),
        """
        cot              | 42.9±0.2/25.0 V | 98.8±0.8/92.5 V | 77.5±1.9/49.4 V
        no_cot           | 16.5±0.5/2.2 V  | 93.8±0.7/3.0 V  | 76.7±1.0/8.2 V
        icot             | 30.0/2.2 V      | 99.8±0.3/3.0 V  | 98.2±0.3/8.2 V
        pause            | 16.4±1.8/2.2 V  | 77.7±21.0/3.0 V | 75.9±0.7/8.2 V
        coconut          | 34.1±1.5/8.2 V  | 99.8±0.2/9.0 V  | 97.0±0.3/14.2 V
        no_curriculum    | 14.4±0.8/8.2 V  | 52.4±0.4/9.0 V  | 76.1±0.2/14.2 V
        no_thought       | 21.6±0.5/2.3 V  | 99.9±0.1/3.0 V  | 95.5±1.1/8.2 V
        pause_as_thought | 24.1±0.7/2.2 V  | 100.0±0.1/3.0 V | 96.6±0.8/8.2 V
        """,
    ),
    PaperTable(
        "CODI, arXiv 2502.21074, GPT-2 on GSM8k-Aug",
        "GPT-2",
        ("GSM8k",),
        """
        no_cot  | 19.1 V
        cot     | 44.1 2
        icot    | 30.1 R
        coconut | 34.1 V
        codi    | 43.7 V
        """,
    ),
    PaperTable(
        "CODI, arXiv 2502.21074, GPT-2 on GSM8k-Aug-NL",
        "GPT-2",
        ("GSM8k-NL",),
        """
        no_cot  | 19.1 R
        cot     | 34.8 R
        icot    | 3.2 R
        coconut | 24.9 2
        codi    | 35.3 R
        """,
    ),
    PaperTable(
        "CODI, arXiv 2502.21074, LLaMA-3.2-1B on GSM8k-Aug and GSM8k-Aug-NL",
        LLAMA_1B,
        ("GSM8k", "GSM8k-NL"),
        """
        no_cot  | 30.9 2 | 30.9 R
        cot     | 61.6 2 | 54.1 R
        icot    | 19.0 R | 15.2 R
        coconut | 45.3 2 | 27.2 2
        codi    | 55.6 2 | 49.7 2
        """,
    ),
    *(
        PaperTable("Coconut, arXiv 2412.06769, larger models", model, ("GSM8k",), rows)
        for model, rows in {
            "LLaMA-3.2-3B": "no_cot | 26.0 R\n coconut | 31.7 R",
            "LLaMA-3-8B": "no_cot | 42.2 R\n coconut | 43.6 R",
        }.items()
    ),
    PaperTable(
        "Coconut, arXiv 2412.06769, section 5, the search tree of one problem",
        "GPT-2",
        ("1 thought, node 1", "1 thought, node 2", "1 thought, node 3", "1 thought, node 4", "2 thoughts, node 1"),
        "coconut_mixed | 33.0 2 | 32.0 2 | 16.0 2 | 1.0 2 | 87.0 2",
    ),
    PaperTable(
        "CODI, arXiv 2502.21074, section 5, problems answered correctly whose results are all in the top 5",
        "GPT-2",
        ("results of 1 step", "results of 2 steps", "results of 3 steps"),
        "codi | 97.1 V | 83.9 V | 75.0 V",
    ),
    PaperTable(
        "SoftCoT, arXiv 2502.12134, as later papers quote its table",
        "Llama-3.1-8B-Instruct",
        ("GSM8K", "ASDiv-Aug", "AQuA", "StrategyQA", "Date Understanding", "mean"),
        """
        zero_shot    | 79.61 2 | 86.78 2 | 54.65 2 | 65.63 2 | 54.40 2 | 68.21 2
        cot_unk      | 79.95 2 | 86.90 2 | 55.28 2 | 66.16 2 | 54.16 2 | 68.49 2
        assist_cot   | 80.76 2 | 86.96 2 | 55.83 2 | 66.55 2 | 58.24 2 | 69.67 2
        lora         | 75.66 2 | 86.67 2 | 52.36 2 | -       | -       | -
        coconut_lora | 76.12 2 | 86.80 2 | 53.15 2 | -       | -       | -
        softcot      | 81.03 2 | 87.19 2 | 56.30 2 | 69.04 2 | 59.04 2 | 70.52 2
        """,
    ),
    PaperTable(
        "SoftCoT, arXiv 2502.12134, as later papers quote its table",
        "Qwen2.5-7B-Instruct",
        ("GSM8K", "ASDiv-Aug", "AQuA", "StrategyQA", "Date Understanding", "mean"),
        """
        zero_shot       | -       | -       | -       | -       | -       | 70.29 2
        assist_cot      | 84.85 2 | -       | -       | -       | -       | -
        softcot         | 85.81 2 | 88.90 2 | 72.44 R | 60.61 2 | 67.52 R | 75.06 2
        softcot_smaller | 85.76 2 | -       | -       | -       | -       | -
        softcot_base    | 85.84 2 | -       | -       | -       | -       | -
        """,
    ),
)
VALUES = tuple(value for table in TABLES for value in table.values())


def paper_value(method: str, benchmark: str | None, model: str = "GPT-2") -> PaperValue | None:
    """The number that stands beside ours, from the first table that has it."""
    wanted = (method, benchmark, model)
    return next((value for value in VALUES if (value.method, value.benchmark, value.model) == wanted), None)
