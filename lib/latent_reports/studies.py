"""The papers' ablations and figures, as data: which of our rows stand for them, and what is claimed about these rows.

A study's `rows` are `variant | what it is | the paper's cell …`, a cell for each of `benchmarks` and written as in
`papers`. Its `claims` are `variant > variant mark` (the first is better) or `variant ~ variant mark` (no difference to
speak of). The sentences and verdicts are made from records, in `claims`.
"""

from dataclasses import dataclass

from latent_reports.papers import PaperTable
from latent_reports.significance import ACCURACY, Measure

COCONUT, CODI = "Coconut, arXiv 2412.06769", "CODI, arXiv 2502.21074"

TOKENS = Measure("new tokens", "metrics.new_tokens", 1.0, ".1f", "tokens", more=False)
ALONE = Measure("ms/question alone", "metrics.seconds_alone", 1000.0, ".1f", "ms", more=False)
BATCHED = Measure("batched", "metrics.seconds_batched", 1000.0, ".2f", "ms", more=False)
ELSEWHERE, FARTHER, REAL = (
    tuple(Measure(f"{name} %", f"metrics.out_of_domain.{name}.accuracy") for name in names)
    for names in (
        ("two steps", "four steps", "operands to 15", "another wording"),
        ("five steps", "operands to 15", "another wording"),
        ("SVAMP", "GSM-Hard", "MultiArith"),
    )
)


@dataclass(frozen=True)
class Study:
    """One table or figure. The first row is what the others are compared with; `shown`: it gets a table of its own."""

    title: str
    source: str
    rows: str
    claims: str = ""
    measures: tuple[Measure, ...] = (ACCURACY,)
    benchmarks: tuple[str, ...] = ("GSM8k",)
    model: str = "GPT-2"
    shown: bool = True
    reading: str = ""  # what we make of it in the tiny tier; says no number, since records may change

    @property
    def labels(self) -> dict[str, str]:
        """What each variant is."""
        lines = (line.split("|") for line in self.rows.strip().splitlines())
        return {variant.strip(): label.strip() for variant, label, *_ in lines}

    @property
    def paper(self) -> dict[tuple[str, str], str]:
        """By variant and benchmark, the paper's number. Raises `ValueError` for one without a mark."""
        lines = (line.split("|") for line in self.rows.strip().splitlines())
        rows = "\n".join("|".join([variant, *cells]) for variant, _, *cells in lines)
        table = PaperTable(self.source, self.model, self.benchmarks, rows)
        return {(value.method, value.benchmark): str(value) for value in table.values()}


STUDIES = (
    Study(
        "Arithmetic beside GSM8k", f"{COCONUT}, Table 1, and {CODI}",
        """
        arithmetic-cot              | CoT                  | 42.9±0.2 V
        arithmetic-no_cot           | No-CoT               | 16.5±0.5 V
        arithmetic-pause            | pause tokens         | 16.4±1.8 V
        arithmetic-icot             | iCoT                 | 30.0 V
        arithmetic-coconut          | Coconut              | 34.1±1.5 V
        arithmetic-no_curriculum    | Coconut without curriculum | 14.4±0.8 V
        arithmetic-no_thought       | Coconut without thought    | 21.6±0.5 V
        arithmetic-pause_as_thought | pause as thought     | 24.1±0.7 V
        arithmetic-codi             | CODI                 | 43.7 V
        """,
        """
        arithmetic-cot > arithmetic-coconut V
        arithmetic-coconut > arithmetic-no_cot V
        arithmetic-coconut > arithmetic-icot V
        arithmetic-coconut > arithmetic-no_curriculum V
        arithmetic-coconut > arithmetic-no_thought V
        arithmetic-coconut > arithmetic-pause_as_thought V
        arithmetic-pause ~ arithmetic-no_cot V
        arithmetic-codi > arithmetic-coconut V
        arithmetic-codi > arithmetic-no_cot V
        arithmetic-codi ~ arithmetic-cot 2
        """,
        shown=False,
        reading=(
            "The order is the paper's, but for the curriculum: with all steps gone from the first day Coconut ends as "
            "high, and then its thoughts hardly matter (another problem's do nearly as well, see the controls). On three "
            "short steps the curriculum decides what thoughts are for, not how often the answer is right. CODI and the "
            "rows with pauses differ more between seeds than from each other."
        ),
    ),
    Study(
        "Graph search beside ProsQA", f"{COCONUT}, Table 1",
        """
        graph-cot              | CoT on graphs              | 77.5±1.9 V
        graph-no_cot           | No-CoT on graphs           | 76.7±1.0 V
        graph-pause            | pause tokens on graphs     | 75.9±0.7 V
        graph-icot             | iCoT on graphs             | 98.2±0.3 V
        graph-coconut          | Coconut on graphs          | 97.0±0.3 V
        graph-no_curriculum    | Coconut on graphs without curriculum | 76.1±0.2 V
        graph-no_thought       | Coconut on graphs without thought    | 95.5±1.1 V
        graph-pause_as_thought | pause as thought on graphs | 96.6±0.8 V
        """,
        """
        graph-coconut > graph-cot V
        graph-coconut > graph-no_cot V
        graph-coconut > graph-pause V
        graph-coconut > graph-no_curriculum V
        graph-coconut ~ graph-no_thought V
        graph-coconut ~ graph-pause_as_thought V
        graph-icot > graph-cot V
        """,
        benchmarks=("ProsQA",), shown=False,
        reading=(
            "Thoughts are what finds the way: neither more positions nor the curriculum without them leaves chance. In "
            "the paper both come close to Coconut. These models start from nothing and the paper's from GPT-2, which is "
            "the likeliest reason; work on models trained from scratch saw the same. iCoT starts here from a CoT that "
            "cannot do the task."
        ),
    ),
    Study(
        "Coconut: thoughts per step (c)", f"{COCONUT}, section 4; a figure without printed values",
        """
        arithmetic-coconut  | c = 1 | -
        ablation_coconut-c0 | c = 0 | -
        ablation_coconut-c2 | c = 2 | -
        ablation_coconut-c3 | c = 3 | -
        """,
        """
        arithmetic-coconut > ablation_coconut-c0 V
        ablation_coconut-c2 > arithmetic-coconut V
        ablation_coconut-c2 > ablation_coconut-c3 V
        """,
        reading=(
            "Any thought is far better than none. That two a step are better than one, and three a little worse, is not "
            "what one seed shows here."
        ),
    ),
    Study(
        "Coconut: stages, mixing, and what ends the thoughts", f"{COCONUT}, sections 3 and 5; mixing i+1: arXiv 2602.22441",
        """
        arithmetic-coconut           | Coconut, three stages, none mixed in | 34.1 V
        ablation_coconut-stages1     | one stage, then none left   | -
        ablation_coconut-stages2     | two stages, then none left  | -
        ablation_coconut-classifier  | a classifier ends thoughts  | -
        ablation_coconut-uniform     | other stages mixed in, uniform | -
        ablation_coconut-improved    | earlier stages mixed in, i+1   | 41.06 2
        ablation_coconut-improved_k2 | the same, 2 thoughts at test   | -
        ablation_coconut-improved_k1 | the same, 1 thought at test    | -
        """,
        """
        ablation_coconut-classifier ~ arithmetic-coconut V
        ablation_coconut-improved > arithmetic-coconut 2
        """,
        reading=(
            "Mixing earlier stages in costs accuracy with all thoughts, and buys a model that goes on in words from "
            "fewer: with one thought it writes the other steps and is nearly always right, so these rows are no gain of "
            "thinking. A classifier does no harm."
        ),
    ),
    Study(
        "CODI: what each part is worth, after 1,500 steps", f"{CODI}, ablations; its numbers stand beside the next table",
        """
        arithmetic-codi               | CODI, last step kept     | -
        ablation_codi-last_dropped    | CODI, last step dropped as in the paper | -
        ablation_codi-static          | a separate, static teacher | -
        ablation_codi-static_multitask | static teacher, multitask student | -
        ablation_codi-beta0           | no distillation          | -
        ablation_codi-no_projection   | no projection            | -
        ablation_codi-lora            | LoRA instead of all weights | -
        """,
        reading=(
            "Hardly anything can be told: one setting moves less than a seed of the same setting. The paper's claims are "
            "therefore judged on longer runs, in the next table."
        ),
    ),
    Study(
        "CODI: what each part is worth, after 4,500 steps", f"{CODI}, ablations",
        """
        ablation_codi_long-whole         | long CODI, last step kept | 31.7 V
        ablation_codi_long-last_dropped  | long CODI, last step dropped as in the paper | 43.7 V
        ablation_codi_long-static        | long CODI, a separate, static teacher | 27.1 V
        ablation_codi_long-static_multitask | long CODI, static teacher, multitask student | 42.2 V
        ablation_codi_long-beta0         | long CODI, no distillation | 24.5 V
        ablation_codi_long-first_level   | long CODI, only the embedding matched, which says nothing | -
        ablation_codi_long-no_projection | long CODI, no projection | 42.5 V
        """,
        """
        ablation_codi_long-last_dropped > ablation_codi_long-whole V
        ablation_codi_long-whole > ablation_codi_long-static V
        ablation_codi_long-static_multitask > ablation_codi_long-static V
        ablation_codi_long-whole > ablation_codi_long-beta0 V
        ablation_codi_long-whole ~ ablation_codi_long-no_projection V
        """,
        reading=(
            "With patience the seeds of the whole come closer, and still no part can be told from it. Without distillation, "
            "or with only the embedding matched, which says nothing, CODI is as good; a static teacher and no chain of its "
            "own is lowest on average, as in the paper, and scatters most. No gain from the state that is matched has been "
            "shown here; the paper, on pretrained models, has one."
        ),
    ),
    Study(
        "CODI: the distillation's weight β and the teacher's weight α", f"{CODI}, weights, on LLaMA-3.2-1B",
        """
        arithmetic-codi        | β = 1, α = 1 | 46.5 V
        ablation_codi-beta0    | no distillation (β = 0) | -
        ablation_codi-beta0p3  | β = 0.3 | -
        ablation_codi-beta5    | β = 5   | 50.2 V
        ablation_codi-beta20   | β = 20  | 51.9 V
        ablation_codi-alpha0   | α = 0   | -
        ablation_codi-alpha0p3 | α = 0.3 | -
        ablation_codi-alpha3   | α = 3   | -
        """,
        """
        ablation_codi-beta5 > arithmetic-codi V
        ablation_codi-beta20 > arithmetic-codi V
        """,
        model="LLaMA-3.2-1B",
        reading=(
            "Nothing above β = 1 is better here; the paper's larger weights are those of a larger model. All is inside "
            "the noise of seeds."
        ),
    ),
    Study(
        "CODI: which states are matched, and how",
        f"{CODI}, appendix; seven distillation tokens: 38.1 to 40.2 (V)",
        """
        arithmetic-codi             | smooth L1 over σ, all levels, at the door | -
        ablation_codi-smooth_l1_raw | smooth L1       | -
        ablation_codi-l1            | L1 over σ       | -
        ablation_codi-l1_raw        | L1              | -
        ablation_codi-l2            | L2 over σ²      | -
        ablation_codi-l2_raw        | L2              | -
        ablation_codi-last_level    | the last level only | -
        ablation_codi-first_level   | the embedding only, which says nothing | -
        ablation_codi-before        | one token before the door | -
        ablation_codi-behind        | one token behind the door | -
        ablation_codi-prompt        | another answer prompt, "###" | -
        """,
        """
        ablation_codi-prompt ~ arithmetic-codi V
        """,
        reading=(
            "The control to look at is the embedding level alone, which is the same for teacher and student and teaches "
            "nothing: it does as well as any. So no choice among these distances has been shown to matter here."
        ),
    ),
    Study(
        "Number of thoughts", f"{CODI}, a figure without printed values",
        """
        arithmetic-codi          | CODI, 6 thoughts | -
        ablation_codi-n0         | CODI, none       | -
        ablation_codi-n1         | CODI, 1 thought  | -
        ablation_codi-n2         | CODI, 2 thoughts | -
        ablation_codi-n3         | CODI, 3 thoughts | -
        ablation_codi-n4         | CODI, 4 thoughts | -
        ablation_codi-n8         | CODI, 8 thoughts | -
        ablation_coconut-c0      | Coconut, none    | -
        ablation_coconut-stages1 | Coconut, 1 thought  | -
        ablation_coconut-stages2 | Coconut, 2 thoughts | -
        arithmetic-coconut       | Coconut, 3 thoughts | -
        ablation_coconut-c2      | Coconut, 6 thoughts | -
        ablation_coconut-c3      | Coconut, 9 thoughts | -
        """,
        """
        ablation_codi-n1 > ablation_coconut-stages1 V
        ablation_codi-n2 > ablation_coconut-stages2 V
        ablation_codi-n3 > arithmetic-coconut V
        arithmetic-codi > ablation_coconut-c2 V
        arithmetic-codi > ablation_codi-n3 V
        arithmetic-codi > ablation_codi-n8 V
        """,
        reading=(
            "One thought in place of all steps is enough for CODI to leave Coconut with one far behind: it learns from "
            "the whole chain at once, while Coconut with one stage drops all other steps at a stroke. From one to eight "
            "thoughts CODI does not move more than a seed does."
        ),
    ),
    Study(
        "Pattern learning: is it the results alone?", f"{CODI}, pattern learning",
        """
        arithmetic-codi          | CODI                   | 43.7 V
        arithmetic-coconut       | Coconut                | 34.1 V
        ablation_chain-results   | "Res": CoT of results only | 34.0 V
        ablation_chain-operators | "Op-Res": CoT of operators and results | 35.7 V
        arithmetic-no_cot        | No-CoT                 | 19.1 V
        """,
        """
        arithmetic-codi > ablation_chain-results V
        arithmetic-codi > ablation_chain-operators V
        ablation_chain-results ~ arithmetic-coconut V
        ablation_chain-results > arithmetic-no_cot V
        """,
        reading=(
            "The opposite of the paper: writing the results alone is as good as the whole chain, and far better than any "
            "thought. The results are the steps that these problems need, and one token each."
        ),
    ),
    Study(
        "Out of domain", f"{CODI}, out of domain",
        """
        arithmetic-codi    | CODI    | 42.9 V | 9.9 V | 92.8 V
        arithmetic-cot     | CoT     | 41.8 V | 9.8 V | 90.7 V
        arithmetic-coconut | Coconut | 36.4 V | 7.9 V | 82.2 V
        arithmetic-icot    | iCoT    | 29.4 V | 5.7 V | 55.5 V
        arithmetic-no_cot  | No-CoT  | 16.4 V | 4.3 V | 41.1 V
        """,
        """
        arithmetic-codi > arithmetic-coconut V
        arithmetic-codi ~ arithmetic-cot V
        arithmetic-coconut > arithmetic-no_cot V
        """,
        measures=ELSEWHERE, benchmarks=("SVAMP", "GSM-Hard", "MultiArith"),
        reading=(
            "No method leaves home. One layer knows in which place a number stands, not what the words around it say: "
            "other lengths and wordings are at chance for all, and only larger operands keep some of the order."
        ),
    ),
    Study(
        "Out of domain, two layers that have seen two to four steps", f"{CODI}, out of domain",
        """
        arithmetic2-codi    | CODI, two layers    | -
        arithmetic2-cot     | CoT, two layers     | -
        arithmetic2-coconut | Coconut, two layers | -
        arithmetic2-no_cot  | No-CoT, two layers  | -
        """,
        """
        arithmetic2-codi > arithmetic2-coconut V
        arithmetic2-codi ~ arithmetic2-cot V
        arithmetic2-coconut > arithmetic2-no_cot V
        """,
        measures=FARTHER,
        reading=(
            "Having seen several lengths does not help with a new one, least of all CoT, which has never written a fifth "
            "step: all are near the floor there. With larger operands the order is that at home, where No-CoT is above the "
            "thoughts on these many problems."
        ),
    ),
    Study(
        "Out of domain, the real benchmarks", f"{CODI}, out of domain",
        """
        gsm8k-codi    | CODI on GSM8k-Aug    | 42.9 V | 9.9 V | 92.8 V
        gsm8k-cot     | CoT on GSM8k-Aug     | 41.8 V | 9.8 V | 90.7 V
        gsm8k-coconut | Coconut on GSM8k-Aug | 36.4 V | 7.9 V | 82.2 V
        gsm8k-no_cot  | No-CoT on GSM8k-Aug  | 16.4 V | 4.3 V | 41.1 V
        """,
        """
        gsm8k-codi > gsm8k-coconut V
        gsm8k-codi ~ gsm8k-cot V
        """,
        measures=REAL, benchmarks=("SVAMP", "GSM-Hard", "MultiArith"),
    ),
    Study(
        "Efficiency: short equations", f"{CODI}, efficiency, times fewer tokens and times faster; {COCONUT}, A100 seconds",
        """
        arithmetic-cot     | CoT     | -     | -     | 0.26 V
        arithmetic-codi    | CODI    | 3.1 V | 2.7 V | -
        arithmetic-coconut | Coconut | -     | -     | 0.09 V
        arithmetic-no_cot  | No-CoT  | -     | -     | 0.03 V
        """,
        """
        arithmetic-codi > arithmetic-cot V
        arithmetic-coconut > arithmetic-cot V
        """,
        measures=(TOKENS, ALONE, BATCHED), benchmarks=("fewer tokens ×", "faster ×", "s/question"),
        reading=(
            "Thoughts save positions and time as they should. Between Coconut and CODI it is their number alone that "
            "differs."
        ),
    ),
    Study(
        "Efficiency: a chain of sentences", f"{CODI}, efficiency, GSM8k-Aug-NL",
        """
        ablation_chain-sentences         | CoT in sentences | - | -
        ablation_chain-sentences_codi    | CODI, taught in sentences | 7.8 V | 5.9 V
        ablation_chain-sentences_coconut | Coconut, from sentences | - | -
        """,
        """
        ablation_chain-sentences_codi > ablation_chain-sentences V
        """,
        measures=(TOKENS, ALONE, BATCHED), benchmarks=("fewer tokens ×", "faster ×"),
        reading=(
            "The wordier the chain, the more there is to save: thoughts cost what they cost before."
        ),
    ),
    Study(
        "Accuracy with a chain of sentences", f"{CODI}, GPT-2 on GSM8k-Aug-NL",
        """
        ablation_chain-sentences         | CoT in sentences | 34.8 R
        ablation_chain-sentences_codi    | CODI, taught in sentences | 35.3 R
        ablation_chain-sentences_coconut | Coconut, from sentences | 24.9 2
        """,
        """
        ablation_chain-sentences_codi > ablation_chain-sentences_coconut R
        ablation_chain-sentences_codi ~ ablation_chain-sentences R
        """,
        benchmarks=("GSM8k-NL",),
        reading=(
            "Sentences are harder to write than equations for a model of this size, and hardly harder to replace: the "
            "thoughts come within reach of the chain that taught them."
        ),
    ),
    Study(
        "Beyond the papers: step supervision (SIM-CoT) and parallel thoughts (PCCoT)",
        "SIM-CoT, ICLR 2026: +8.2 points over Coconut, +0.6 over CODI (V); PCCoT, arXiv 2506.18582",
        """
        arithmetic-codi          | CODI, 6 thoughts one after another | -
        ablation_codi-simcot     | CODI, each thought says its step  | -
        ablation_codi-jacobi2    | CODI, 6 thoughts at once, twice over | -
        ablation_codi-jacobi1    | CODI, 6 thoughts at once, once    | -
        arithmetic-coconut       | Coconut, 3 thoughts one after another | -
        ablation_coconut-simcot  | Coconut, each thought says its step | -
        ablation_coconut-jacobi2 | Coconut, 3 thoughts at once, twice over | -
        ablation_coconut-jacobi1 | Coconut, 3 thoughts at once, once | -
        """,
        """
        ablation_coconut-simcot > arithmetic-coconut V
        ablation_codi-simcot ~ arithmetic-codi V
        ablation_codi-jacobi2 ~ arithmetic-codi R
        """,
        reading=(
            "Neither moves accuracy by more than a seed. For Coconut, three thoughts guessed at once do what three after "
            "another do; so they are not steps of a sequence that builds on itself."
        ),
    ),
    Study(
        "What parallel thoughts cost", "PCCoT, arXiv 2506.18582: about half the time, with 24 thoughts in 3 iterations",
        """
        arithmetic-codi       | CODI, 6 thoughts one after another | -
        ablation_codi-jacobi2 | CODI, 6 thoughts at once, twice over | -
        ablation_codi-jacobi1 | CODI, 6 thoughts at once, once | -
        """,
        """
        ablation_codi-jacobi2 > arithmetic-codi R
        """,
        measures=(ALONE, BATCHED),
        reading=(
            "Parallel thoughts save time only where a question is asked alone. In a batch the loop's short reads with a "
            "cache are cheaper than reading all thoughts again."
        ),
    ),
)  # fmt: skip
