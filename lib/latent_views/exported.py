"""What the page is given: the shipped models as plain numbers, their tasks' problems, probes; all as one JSON value."""

import base64
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from latent_backbones.tokens import BOT, EOS, EOT
from latent_cot.methods import TITLES
from latent_cot.models import Reasoner, load_reasoner
from latent_probes.linear import N_FIT
from latent_probes.probing import add_noise
from latent_runs.groups import Data
from latent_runs.places import RECORDED
from latent_runs.trained import method_of
from latent_tasks import GENERATED, arithmetic, load_task
from latent_views.probes import N_HELD_OUT, fit_probes
from latent_views.ready import load, recorded

N_PROBLEMS = 202  # of a task: two hundred for a count, and the two before the first of them, whose thoughts it is given
TASKS = "arithmetic", "graph"  # that the page can read
ALWAYS_AS_MANY = {"nobody", "hidden", "projection", "pause"}  # writers that never end their thoughts themselves


def page_data(folder: Path = RECORDED) -> dict[str, Any]:
    """Everything the page shows or computes with. Raises ValueError where no model is found."""
    found = {path: record for path, record in recorded(folder).items() if record["parameters"]["task"] in TASKS}
    if not found:
        raise ValueError(f"no trained model below {folder}: run `make record` first")
    models = [model_data(path, record) for path, record in asked_alike(found).items()]
    tasks = {name: _problems(name, models) for name in sorted({model["task"] for model in models})}
    return {"models": models, "tasks": tasks}


def asked_alike(found: Mapping[Path, Mapping[str, Any]]) -> dict[Path, Mapping[str, Any]]:
    """Those of each task that are asked what its first one is: the page has one set of questions a task."""
    first: dict[str, dict[str, Any]] = {}
    kept = {}
    for path, record in found.items():
        name = record["parameters"]["task"]
        options = task_options(name, Data(**record["parameters"]["data"]).options)
        if first.setdefault(name, options) == options:
            kept[path] = record
    return kept


def model_data(path: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """One model: how it is asked, its vocabulary, its weights by name."""
    parameters, method, reasoner = record["parameters"], method_of(record), load_reasoner(path.parent)
    data, spec, tokenizer = Data(**parameters["data"]), reasoner.spec, reasoner.tokenizer
    vocabulary, start = tokenizer.get_vocab(), parameters["run"].get("init_from", "")
    name = record["variant"].rpartition("-")[2]
    weights, shapes = packed(numbers_of(reasoner))
    ids = {"bot": BOT, "eot": EOT, "eos": EOS, "answer": data.answer_prompt}
    exported = {
        "id": f"{record['variant']}--s{record['seed']}",
        "title": TITLES[name].lstrip("– ").capitalize() if TITLES[name].startswith("–") else TITLES[name],
        "seed": record["seed"], "accuracy": record["metrics"]["accuracy"],
        "task": parameters["task"], "options": task_options(parameters["task"], data.options),
        "aloud": None, "startedFrom": Path(start).name, "writesChain": method.writes_chain,
        "nThoughts": method.n_thoughts, "marked": method.thinks_between_markers and spec.markers,
        "writer": spec.writer, "writerOptions": dict(spec.writer_options),
        "endsThoughts": getattr(reasoner.writer, "end", None),
        "layers": spec.n_layers, "heads": spec.n_heads, "width": spec.d_model, "context": spec.context,
        "headWords": reasoner.lm.get_output_embeddings().weight.shape[0], "maxNewTokens": data.max_new_tokens,
        "vocabulary": sorted(vocabulary, key=lambda word: vocabulary[word]),
        "ids": {name: vocabulary[word] for name, word in ids.items()},
        "weights": weights, "shapes": shapes, "probes": None,
    }  # fmt: skip
    if parameters["task"] == "arithmetic" and exported["nThoughts"] and spec.writer in ALWAYS_AS_MANY:
        exported["probes"] = _probes(path, data.options, exported["options"]["max_value"] + 1)
    return exported


def numbers_of(reasoner: Reasoner) -> dict[str, Tensor]:
    """Weights by short names, all matrices from input to output. The head's words are the first rows of `embed`."""
    named = dict(reasoner.named_parameters())
    linears = {f"{name}.weight" for name, module in reasoner.named_modules() if isinstance(module, nn.Linear)}
    ids = torch.arange(len(reasoner.tokenizer))
    with torch.no_grad():
        table = reasoner.embed(ids[None])[0]
    head = reasoner.lm.get_output_embeddings().weight
    if not torch.equal(head, table[: len(head)]):
        raise ValueError("the page reads models whose LM head is tied to their embeddings")
    blocks = {n.removeprefix("lm.transformer.h."): w for n, w in named.items() if n.startswith("lm.transformer.h.")}
    norm = {n.removeprefix("lm.transformer."): w for n, w in named.items() if n.startswith("lm.transformer.ln_f")}
    writer = {n: w.T if n in linears else w for n, w in named.items() if n.startswith("writer.")}
    straight = torch.eye(1, table.shape[1])[None]  # a thought of length 1: noise as long as it, without it, is the direction
    noise = (add_noise(0, 1.0)(straight) - straight)[0, 0]
    return {"embed": table, "positions": named["lm.transformer.wpe.weight"], "noise": noise, **blocks, **norm, **writer}


def packed(numbers: Mapping[str, Tensor]) -> tuple[str, dict[str, tuple[int, int]]]:
    """Single-precision numbers one after another, in base64; by name where they start, and how many."""
    flat = {name: np.asarray(values.detach().contiguous().numpy(), "<f4").ravel() for name, values in numbers.items()}
    ends = np.cumsum([len(values) for values in flat.values()]).tolist()
    shapes = {name: (end - len(values), len(values)) for (name, values), end in zip(flat.items(), ends)}
    return base64.b64encode(np.concatenate([*flat.values()]).tobytes()).decode(), shapes


def task_options(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What the task's function is told, its defaults included, and the words that have a part in its questions."""
    defaults = {n: p.default for n, p in inspect.signature(GENERATED[name]).parameters.items()}
    words = {"names": arithmetic.NAMES, "things": arithmetic.THINGS, "verbs": arithmetic.OPERATION}
    return {**defaults, **options, **(words if name == "arithmetic" else {})}


def _problems(name: str, models: list[dict[str, Any]]) -> list[dict[str, Any]]:
    (options,) = {json.dumps(load_options(model)) for model in models if model["task"] == name}
    task = load_task(name, sizes={"test": N_PROBLEMS}, **json.loads(options))
    return [{"question": p.question, "steps": p.steps, "answer": p.answer} for p in task.splits["test"]]


def load_options(model: Mapping[str, Any]) -> dict[str, Any]:
    """What the task's own function takes of a model's options."""
    known = inspect.signature(GENERATED[model["task"]]).parameters
    return {key: value for key, value in model["options"].items() if key in known}


def _probes(path: Path, options: Mapping[str, Any], n_classes: int) -> dict[str, Any] | None:
    task = load_task("arithmetic", sizes={"train": N_FIT, "valid": N_HELD_OUT}, **options)
    probes = fit_probes(load(path), task.splits["train"], task.splits["valid"], n_classes)
    if probes is None:
        return None
    weights, shapes = packed({"weight": probes.weight, "bias": probes.bias})
    size = dict(zip(("thoughts", "results", "d", "classes"), probes.weight.shape))
    found = {"right": probes.right.tolist(), "mismatched": probes.mismatched.tolist()}
    return {"weights": weights, "shapes": shapes, **size, **found}
