"""Beside the official implementations: the same model's shape, lengths and precision, a step each in turns.

A folder has their checkouts: `coconut` (facebookresearch/coconut) and `codi` (zhenyi4/codi), any one or both. Nothing of theirs
is copied here. They are run as they are, with the activation that GPT-2's config names and the plain AdamW that they use; what
transformers has changed since they were written is made good: caches as lists of pairs, and models that are loaded by name.
"""

import contextlib
import copy
import importlib.util
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from accelerate import Accelerator
from peft import LoraConfig
from torch import Tensor
from transformers import DynamicCache, GPT2Config, GPT2LMHeadModel
from transformers.cache_utils import DynamicLayer

from latent_backbones.parts import causal
from latent_cot.curriculum import Budget
from latent_cot.generation import answer
from latent_cot.methods import Method, make
from latent_cot.models import Reasoner
from latent_cot.sequences import Sequence, collate
from latent_cot.training import Supervised, TrainOptions, adamw, optimizer_step

QUESTION, CHAIN, ANSWER, N_THOUGHTS = 60, 25, 8, 6  # tokens of every problem; GSM8k-Aug's medians, rounded
Step = Callable[[int], object]
Pair = tuple[str, Step, Step, int, int]  # what is done, their way and ours, and how many examples each does at a call


class AsBefore(GPT2LMHeadModel):
    """Takes and returns a cache as transformers 4 had it, a list with keys and values of every layer."""

    def forward(self, *args: Any, past_key_values: Any = None, **kwargs: Any) -> Any:
        cache = DynamicCache()
        for keys, values in past_key_values or ():
            layer = DynamicLayer()
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
            cache.layers.append(layer)
        output = super().forward(*args, past_key_values=cache, use_cache=True, **kwargs)
        output.past_key_values = [(layer.keys, layer.values) for layer in output.past_key_values.layers]
        return output


def load(path: Path) -> ModuleType:
    """A module of theirs, by its file. Raises FileNotFoundError."""
    spec = importlib.util.spec_from_file_location(f"official_{path.stem}", path)
    if spec is None or spec.loader is None or not path.exists():
        raise FileNotFoundError(f"{path} is not there: PEERS must hold checkouts named coconut and codi")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _markers(reasoner: Reasoner) -> tuple[int, int, int]:
    bot, eot, eos = reasoner.markers.bot, reasoner.markers.eot, reasoner.markers.eos
    assert bot is not None and eot is not None
    return bot, eot, eos


def _their_config(reasoner: Reasoner) -> GPT2Config:
    config: Any = copy.deepcopy(causal(reasoner.lm).config)
    config.update({"activation_function": "gelu_new"})
    return config


def _words(batch: int, n: int, device: torch.device) -> Tensor:
    return torch.randint(6, 300, (batch, n), generator=torch.Generator().manual_seed(n)).to(device)


def _fast(device: torch.device, precision: str) -> torch.autocast:
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _step(model: torch.nn.Module, loss: Callable[[], Tensor], precision: str, device: torch.device, clip: float = 0.0) -> Step:
    """Forward, backward and AdamW, as the official scripts have them."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)

    def step(_: int) -> None:
        with _fast(device, precision), contextlib.redirect_stdout(io.StringIO()):
            found = loss()
        found.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()
        optimizer.zero_grad()
        found.item()

    return step


def our_step(reasoner: Reasoner, method: Method, sequences: list[Sequence], precision: str) -> Step:
    """A step of `training.train`."""
    options = TrainOptions(batch_size=len(sequences), precision="bf16" if precision == "bf16" else "no")
    accelerator, batch, stage = Accelerator(), collate(sequences, reasoner.markers), method.curriculum[-1]
    supervised, optimizer = Supervised(reasoner, method).train(), adamw(reasoner, stage, options)
    still = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)
    return lambda _: optimizer_step(accelerator, supervised, optimizer, still, batch, options, "a step")


def coconut(folder: Path, build: Callable[..., Reasoner], batch: int, precision: str) -> Iterator[Pair]:
    ours = build("hidden")
    device, (bot, eot, eos) = next(ours.parameters()).device, _markers(ours)
    base: Any = AsBefore(_their_config(ours))
    lm, latent = base.to(device), 5
    theirs = load(folder / "coconut.py").Coconut(lm, latent, bot, eot, eos)
    question, language = _words(batch, QUESTION, device), _words(batch, CHAIN + ANSWER, device)
    one = torch.ones(batch, 1, dtype=torch.long, device=device)
    prompt = torch.cat([question, one * bot, (one * latent).repeat(1, N_THOUGHTS), one * eot], 1)
    ids = torch.cat([prompt, language], 1)
    labels = torch.where(torch.arange(ids.shape[1], device=device) < prompt.shape[1], -100, ids)
    places = torch.arange(ids.shape[1], device=device).expand_as(ids)
    theirs.train()
    step = _step(theirs, lambda: theirs(ids, torch.ones_like(ids), labels, places).loss, precision, device)
    rows = [
        Sequence(str(i), (*q, bot), N_THOUGHTS, (eot, *said), n_unsupervised=1)
        for i, (q, said) in enumerate(zip(question.tolist(), language.tolist()))
    ]
    method = make("coconut", {"latents_per_step": 2}, Budget(1, 1, lr=1e-4))
    yield "Coconut training", step, our_step(ours, method, rows, precision), batch, batch

    asked = [Sequence(str(i), rows[i % batch].question, N_THOUGHTS, (eot,)) for i in range(64)]

    @torch.no_grad()
    def their_answer(i: int) -> None:
        theirs.eval()
        with _fast(device, precision):
            alone = prompt[i % batch, None]
            theirs.generate(alone, torch.ones_like(alone), max_new_tokens=ANSWER)

    def our_answers(n: int) -> Step:
        def step(i: int) -> None:
            with _fast(device, precision):
                answer(ours, asked[i % 64 : i % 64 + 1] if n == 1 else asked[:n], ANSWER, n)

        return step

    yield "Answers, one at a time", their_answer, our_answers(1), 1, 1
    yield "Answers, 64 at once (theirs one at a time)", their_answer, our_answers(64), 1, 64


def codi(folder: Path, build: Callable[..., Reasoner], batch: int, precision: str) -> Iterator[Pair]:
    ours = build("projection", lora=True)
    device, (bot, eot, _), spec = next(ours.parameters()).device, _markers(ours), ours.spec
    config = _their_config(ours)
    module = load(folder / "src" / "model.py")
    config.vocab_size -= 3  # they add theirs
    module.AutoModelForCausalLM = SimpleNamespace(from_pretrained=lambda *_, **__: GPT2LMHeadModel(config))  # type: ignore
    module.AutoTokenizer = SimpleNamespace(from_pretrained=lambda *_, **__: ours.tokenizer)  # type: ignore
    model_args = SimpleNamespace(model_name_or_path="gpt2", full_precision=True, train=True)
    how: dict[str, Any] = {"bf16": False, "num_latent": N_THOUGHTS, "use_lora": True, "use_prj": True, "prj_dim": config.n_embd}
    how |= {"prj_dropout": 0.0, "prj_no_ln": False, "print_loss": False, "ref_loss_factor": 1.0, "distill_loss_div_std": True}
    how |= {"distill_loss_type": "smooth_l1", "distill_loss_factor": 1.0, "fix_attn_mask": False, "restore_from": ""}
    how |= {"print_ref_model_stats": False}
    targets, rank, alpha = ["c_attn", "c_proj", "c_fc"], spec.lora_rank, spec.lora_alpha
    lora = LoraConfig(r=rank, lora_alpha=alpha, fan_in_fan_out=True, target_modules=targets, task_type="CAUSAL_LM")
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = module.CODI(model_args, SimpleNamespace(**how), lora).float().to(device)
    question, chain, said = (_words(batch, n, device) for n in (QUESTION, CHAIN, ANSWER))
    one = torch.ones(batch, 1, dtype=torch.long, device=device)
    decoder, reference = torch.cat([one * theirs.eot_id, said], 1), torch.cat([question, chain, said], 1)
    door = ANSWER // 2
    inputs = {
        "encoder_input_ids": torch.cat([question, one * theirs.bot_id], 1),
        "decoder_input_ids": decoder,
        "ref_input_ids": reference,
        "labels": torch.cat([-100 * one, said], 1),
        "ref_labels": torch.where(torch.arange(reference.shape[1], device=device) < QUESTION, -100, reference),
        "ref_answer_position": (one * (QUESTION + CHAIN + door))[:, 0],
        "model_answer_position": (one * (1 + door))[:, 0],
    }
    step = _step(theirs, lambda: theirs(**inputs)["loss"], precision, device, clip=2.0)
    rows = [
        Sequence(str(i), (*q, bot), N_THOUGHTS, (eot, *a), 1, door, (*c, *a), CHAIN + door - 1)
        for i, (q, c, a) in enumerate(zip(question.tolist(), chain.tolist(), said.tolist()))
    ]
    yield "CODI training, LoRA", step, our_step(ours, make("codi", {}, Budget(1, 1, lr=1e-4)), rows, precision), batch, batch


PEERS = {"coconut": coconut, "codi": codi}
