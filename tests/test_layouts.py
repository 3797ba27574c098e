"""Text as the official code writes it: BOS, CODI's one line, a chat template's own words (as texts and as token ids)."""

import random
from dataclasses import replace

import pytest
from test_softcot import CHAT
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from latent_backbones.tokens import markers_of
from latent_cot.curriculum import all_steps, distill, no_steps
from latent_cot.evaluation import prompt
from latent_cot.methods.softcot import chat_layout
from latent_cot.sequences import JOINED, Layout, encode
from latent_runs.groups import Data
from latent_runs.lesson import layout_of
from latent_runs.plan import grid_path, read_grid
from latent_tasks import Problem

PROBLEM = Problem("2 and 3 and 4?", ("<<2+3=5>>", "<<5+4=9>>"), "9", "p")
RNG = random.Random(0)


def letters(adds_bos: bool, bos: bool = True, chat: str | None = None) -> PreTrainedTokenizerFast:
    """A tokenizer of single characters, so that every space and newline shows; with BOS before a text, or only known."""
    special = ["<s>", "</s>", "<pad>", "<bot>", "<eot>"]
    words = [*special, *(chr(i) for i in range(32, 127)), "\n"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="</s>", pad_token="<pad>", additional_special_tokens=["<bot>", "<eot>"],
        **({"bos_token": "<s>"} if bos else {}),
    )  # fmt: skip
    made.chat_template = chat
    return made


def said(tokenizer, ids) -> str:
    return "".join(tokenizer.convert_ids_to_tokens(list(ids)))


def test_codis_text_on_gsm8k_is_one_line():
    """question <bot> | thoughts | <eot> prompt answer; teacher: steps joined by one space, the prompt right behind them."""
    tokenizer = letters(adds_bos=True)
    (problem,) = encode([PROBLEM], tokenizer, replace(JOINED, bos=True))
    student = distill(6, keep_last_step=True)(problem, markers_of(tokenizer), RNG)
    assert said(tokenizer, student.question) == "<s>2 and 3 and 4?<bot>"
    assert said(tokenizer, student.language) == "<eot>The answer is: 9</s>"
    assert said(tokenizer, student.teacher) == "<<2+3=5>> <<5+4=9>>The answer is: 9</s>"
    assert said(tokenizer, student.teacher[: student.teacher_door + 1]).endswith("The answer is: ")


def test_lines_stay_the_default():
    tokenizer = letters(adds_bos=True)
    (problem,) = encode([PROBLEM], tokenizer)
    assert layout_of(Data()) == Layout()
    whole = all_steps()(problem, markers_of(tokenizer), RNG)
    assert said(tokenizer, whole.question + whole.language) == ("2 and 3 and 4?\n<<2+3=5>>\n<<5+4=9>>\nThe answer is: 9</s>")


@pytest.mark.parametrize("adds_bos, known, expected", [(True, True, 1), (False, True, 0), (False, False, 0)])
def test_bos_is_there_once_where_the_tokenizer_begins_a_text_with_it(adds_bos, known, expected):
    """GPT-2 knows a BOS and puts none; Llama puts one. Before the question only."""
    tokenizer = letters(adds_bos, known)
    for layout, n in ((Layout(bos=True), expected), (Layout(), 0)):
        (problem,) = encode([PROBLEM], tokenizer, layout)
        whole = all_steps()(problem, markers_of(tokenizer), RNG)
        ids = [*whole.question, *whole.language]
        assert ids.count(0) == n and (not n or ids[0] == 0)
        assert prompt(problem, markers_of(tokenizer), 2).question.count(0) == n


@pytest.mark.parametrize("instruct", ["", "Solve"])
def test_without_thoughts_a_chat_template_is_its_own_text(instruct):
    tokenizer = letters(adds_bos=False, chat=CHAT)
    (problem,) = encode([PROBLEM], tokenizer, chat_layout(tokenizer, instruct))
    content = f"{instruct}\n\n{PROBLEM.question}" if instruct else PROBLEM.question
    message = [{"role": "user", "content": content}]
    own = str(tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
    markers = markers_of(tokenizer, between=False)
    asked = prompt(problem, markers, 0, marked=False)
    assert said(tokenizer, asked.question + asked.language) == own
    trained = no_steps()(problem, markers, RNG)
    assert said(tokenizer, trained.question + trained.language).startswith(own)
    thinks = prompt(problem, markers, 3, marked=False)
    before, after = own.split(PROBLEM.question)
    assert said(tokenizer, thinks.question) == f"{before}{PROBLEM.question}\n"  # thoughts begin a new line
    assert said(tokenizer, thinks.language) == after


def test_the_paper_tier_writes_as_the_official_code_does():
    """CODI's block on GSM8k-Aug in one line, its other data in lines; BOS wherever Coconut's and CODI's code puts it."""
    seen = set()
    for run in read_grid(grid_path("paper")):
        if run.notebook.startswith("05"):
            continue
        data = Data(**{name.partition(".")[2]: value for name, value in run.parameters.items() if name.startswith("data.")})
        block = run.variant.partition("-")[0]
        assert data.bos, run.variant
        ours_of_coconut = block.startswith(("gsm8k", "ablation_gsm8k"))
        if run.parameters["task"] == "gsm8k-aug" or run.variant.endswith("codi") and "csqa" not in run.variant:
            assert data.text == ("lines" if ours_of_coconut else "joined"), run.variant
        seen.add(data.text)
        if run.variant.endswith("codi") and "csqa" not in run.variant:
            assert run.parameters["options.keep_only_step"] is run.parameters["options.keep_last_step"] is False
    assert seen == {"joined", "lines"}
