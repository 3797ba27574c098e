"""Tokenizers: a small closed vocabulary for the generated tasks, and the thought markers for pretrained ones.

`<bot>` opens the thoughts and `<eot>` closes them (Coconut: "start/end latent"; CODI: "bot/eot").
"""

from dataclasses import dataclass
from typing import Any

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

PAD, BOT, EOT, EOS = "<pad>", "<bot>", "<eot>", "<eos>"
ANSWER_PROMPTS = ("The answer is:", "###")
# Words, whole numbers, edges "a>b", brackets of a calculation, and any other sign are one token each.
PATTERN = r"<<|>>|###|The answer is:|[A-Za-z]+>[A-Za-z]+|[A-Za-z]+|\d+|[^\sA-Za-z\d]"


class UnknownWord(ValueError):
    """Text holds a word that a closed vocabulary does not have."""


@dataclass(frozen=True)
class Markers:
    pad: int
    eos: int
    bot: int | None  # None: thoughts follow the question directly
    eot: int | None


def tiny_tokenizer(words: tuple[str, ...]) -> PreTrainedTokenizerFast:
    """A word-level tokenizer over a task's closed vocabulary. Commas and spaces carry nothing and are dropped."""
    vocabulary = dict.fromkeys((PAD, EOS, BOT, EOT, *ANSWER_PROMPTS, *words))
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token=PAD))
    tokenizer.normalizer = normalizers.Replace(",", " ")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PATTERN), behavior="removed", invert=True)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, additional_special_tokens=[BOT, EOT]
    )


def check_words(text: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise UnknownWord naming the words of `text` that a closed vocabulary lacks, and those that are special tokens."""
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    special = set(tokenizer.all_special_ids)
    unknown = [text[a:b] for i, (a, b) in zip(encoded["input_ids"], encoded["offset_mapping"]) if i in special]
    if unknown:
        raise UnknownWord(f"words this model has never seen: {', '.join(dict.fromkeys(unknown))}")


def add_markers(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Give a pretrained tokenizer `<pad>`, `<bot>`, `<eot>`, as its last three ids (the order of CODI's checkpoints)."""
    tokenizer.add_tokens([PAD, BOT, EOT], special_tokens=True)
    tokenizer.pad_token = PAD
    return tokenizer


def markers_of(tokenizer: PreTrainedTokenizerBase, between: bool = True) -> Markers:
    """The marker ids of a tokenizer. `between=False`: no marker stands between question, thoughts and language.

    Asked for at every problem and token, so that no vocabulary is read: a real one is long. Raises KeyError without markers.
    """
    bot = eot = None
    if between:
        ids: Any = tokenizer.convert_tokens_to_ids([BOT, EOT])
        if tokenizer.convert_ids_to_tokens(ids) != [BOT, EOT]:
            raise KeyError(f"the tokenizer has no {BOT} and {EOT}")
        bot, eot = ids
    return Markers(tokenizer.pad_token_id, tokenizer.eos_token_id, bot, eot)
