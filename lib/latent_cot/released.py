"""The weights that CODI's authors released, as reasoners: from the Hugging Face hub, or from a folder of one's own.

A folder holds the released file and the model that it was trained from, each under the last part of its name on the hub:

    <folder>/CODI-gpt2/pytorch_model.bin (or model.safetensors)    <folder>/gpt2/config.json, tokenizer and weights

What the folder does not hold comes from the hub. The released file has all weights, those of the backbone too; of the backbone
itself its shape and tokenizer count.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from latent_backbones.weights import load_official
from latent_cot.models import Reasoner, ReasonerSpec, build_reasoner
from latent_cot.sequences import JOINED
from latent_tasks.files import ask_hub

FILES = ("model.safetensors", "pytorch_model.bin")
LAYOUT = replace(JOINED, bos=True)  # how the official code writes a question (train.py, test.py)
N_THOUGHTS = 6  # --inf_latent_iterations of scripts/test_gpt2.sh and scripts/test_llama1b.sh
MAX_NEW_TOKENS = 256  # test.py


@dataclass(frozen=True)
class Released:
    """Where weights are, what they were trained from, the width of their projection (`prj_dim`), and who they are in tables."""

    hub: str
    lm: str
    width: int
    model: str


RELEASED = {
    "gpt2": Released("zen-E/CODI-gpt2", "openai-community/gpt2", 768, "GPT-2"),
    "llama": Released("zen-E/CODI-llama3.2-1b-Instruct", "meta-llama/Llama-3.2-1B-Instruct", 2048, "LLaMA-3.2-1B"),
}


def load_released(name: str, folder: Path | None = None) -> Reasoner:
    """The released reasoner `name` (a key of `RELEASED`), in fp32, ready to be asked.

    Raises OSError, with what was looked for and where, if the weights or the model behind them are neither in the folder nor
    within reach on the hub; ValueError if they do not fit each other.
    """
    found = RELEASED[name]
    weights = find_weights(found.hub, folder)
    lm = beside(folder, found.lm)
    reasoner = build_reasoner(ReasonerSpec(str(lm or found.lm), "projection", {"width": found.width}, lora_rank=128))
    load_official(reasoner, weights)
    return reasoner.eval()


def beside(folder: Path | None, hub: str) -> Path | None:
    """What a folder holds under the last part of a name on the hub."""
    path = folder / hub.rpartition("/")[2] if folder else None
    return path if path and path.is_dir() else None


def find_weights(hub: str, folder: Path | None) -> Path:
    """The file of released weights, from the folder or the hub. Raises OSError where it is in neither."""
    if folder and not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder")
    own = beside(folder, hub)
    if own:
        if file := next((own / name for name in FILES if (own / name).is_file()), None):
            return file
        raise FileNotFoundError(f"{own}: none of {', '.join(FILES)} is there")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        ask_hub()
        try:
            return Path(hf_hub_download(hub, FILES[1]))
        except EntryNotFoundError:
            return Path(hf_hub_download(hub, FILES[0]))
    except Exception as error:  # its client raises dozens of kinds: no network, gated, no disk …
        looked = f"{folder} (no {hub.rpartition('/')[2]}/ there) and " if folder else ""
        reason = " ".join(str(error).split())[:200]
        raise OSError(f"{hub}: not found in {looked}the Hugging Face hub: {reason}") from error
