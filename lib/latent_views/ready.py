"""Ready to think: the trained models that ship with their records, and a released one.

    python -m latent_views.ready        the models, their sizes, and the commands that make them again
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from latent_cot.curriculum import Budget
from latent_cot.methods import Method, make
from latent_cot.models import ReasonerSpec, build_reasoner, load_reasoner
from latent_cot.sequences import JOINED
from latent_cot.weights import load_official
from latent_runs.lesson import layout_of
from latent_runs.places import ASSETS, RECORDED
from latent_runs.results import MODEL, command
from latent_runs.settings import Data
from latent_tasks import load_task
from latent_views.thinkers import Thinker

RELEASED = "zen-E/CODI-gpt2"
N_OFFERED = 12  # problems to pick from


def recorded(folder: Path = RECORDED) -> dict[Path, dict[str, Any]]:
    """By model file, the record beside it."""
    return {path: json.loads(path.with_name("result.json").read_text()) for path in sorted(folder.rglob(MODEL))}


def method_of(record: Mapping[str, Any]) -> Method:
    """The method that made a recorded model."""
    name, options = record["parameters"]["method"], record["parameters"]["options"]
    return make(name, options | ({"longest_chain": 1} if name == "icot" else {}), Budget())


def load(path: Path) -> Thinker:
    """A shipped model. Its explicit chain is its own where it was also taught to write one, else that of the CoT model it
    started from."""
    record = json.loads(path.with_name("result.json").read_text())
    parameters, method, reasoner = record["parameters"], method_of(record), load_reasoner(path.parent)
    data, start = Data(**parameters["data"]), parameters["run"].get("init_from", "")
    beside = path.parents[2] / Path(*Path(start).parts[-2:]) / MODEL
    aloud, note = None, "This model has unlearned to write its steps."
    if method.writes_chain:
        aloud, note = reasoner, "Written by the same weights."
    elif start and beside.is_file():
        aloud, note = load_reasoner(beside.parent), "Written by the CoT model that this one started from."
    task = load_task(parameters["task"], sizes={"test": N_OFFERED}, **data.options)
    n_thoughts, marked = data.n_thoughts_at_test or method.n_thoughts, method.thinks_between_markers
    return Thinker(reasoner, task, n_thoughts, aloud, note, layout_of(data), data.max_new_tokens, marked)


def released() -> Thinker:
    """CODI's GPT-2 weights from the hub. Raises ValueError, in plain words, where the hub is out of reach."""
    from huggingface_hub import hf_hub_download

    try:
        socket.create_connection(("huggingface.co", 443), timeout=3).close()  # the hub's own client tries for half a minute
        weights = hf_hub_download(RELEASED, "pytorch_model.bin")
        spec = ReasonerSpec("openai-community/gpt2", "projection", {"width": 768}, lora_rank=128)
        reasoner = build_reasoner(spec)
        load_official(reasoner, Path(weights))
        task = load_task("gsm8k", sizes={"test": N_OFFERED})
    except OSError as error:
        raise ValueError(f"{RELEASED} cannot be fetched: the Hugging Face hub is out of reach.") from error
    return Thinker(reasoner, task, 6, reasoner, "Written by the same weights.", replace(JOINED, bos=True), max_new_tokens=128)


if __name__ == "__main__":
    for path, record in recorded().items():
        print(f"{path.relative_to(ASSETS)}  {path.stat().st_size / 1e6:.2f} MB\n    {command(record)}")
