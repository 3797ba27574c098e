"""CODI's numbers from the formulae, one plain call of transformers after another: what cases of its official code are missing.

`python tests/golden_formulae.py tests/golden` writes them. That these formulae are the official code's is checked on the cases
that it has made itself (`test_parity.py`); no line of this repository's own loop, cache, masks or losses takes part.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

DOOR_BEHIND = {"gpt2": 0, "llama": 1}  # where states are matched, in tokens behind the ':' of the answer's prompt
PAD, BOT, EOT, EOS, PROMPT = 60, 61, 62, 1, [11, 12, 13, 14]
GPT2 = dict(model_type="gpt2", n_embd=32, n_head=4, n_layer=3, n_positions=64)
LLAMA = dict(model_type="llama", hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False)  # fmt: skip
CASES = {  # name: architecture, are questions of several lengths, options that differ
    "codi_gpt2_formulae_no_projection": (GPT2, False, {"use_prj": False}),
    "codi_gpt2_formulae_l1": (GPT2, False, {"distill_loss_type": "l1", "distill_loss_div_std": False}),
    "codi_gpt2_formulae_ragged": (GPT2, True, {}),
    "codi_gpt2_formulae_ragged_fixed": (GPT2, True, {"fix_attn_mask": True}),
    "codi_llama_formulae": (LLAMA, False, {}),
    "codi_llama_formulae_ragged_fixed": (LLAMA, True, {"fix_attn_mask": True, "use_prj": False}),
}
OPTIONS = {"num_latent": 4, "use_prj": True, "prj_dim": 32, "prj_no_ln": False, "distill_loss_type": "smooth_l1",
           "distill_loss_div_std": True, "distill_loss_factor": 1.0, "ref_loss_factor": 1.0,
           "fix_attn_mask": False}  # fmt: skip


def padded(rows, left):
    width = max(map(len, rows))
    rows = [[PAD] * (width - len(row)) * left + row + [PAD] * (width - len(row)) * (not left) for row in rows]
    return torch.tensor(rows)


def losses(lm, prj, facts):
    """Student, distillation and teacher, with their factors inside. `lm` has the three added tokens."""
    options, ids = facts["options"], facts["ids"]
    questions, chains, answers = ([one[part] for one in facts["examples"]] for part in ("question", "cot", "answer"))
    rows, behind = torch.arange(len(questions)), DOOR_BEHIND[facts["arch"]]

    asked = padded([question + [ids["bot"]] for question in questions], left=True)
    real, width, cache = (asked != ids["pad"]).long(), asked.shape[1], DynamicCache()
    past = dict(past_key_values=cache, use_cache=True, output_hidden_states=True)
    out = lm(input_ids=asked, attention_mask=real, position_ids=torch.arange(width)[None].expand_as(asked), **past)
    for i in range(options["num_latent"]):  # without a mask: all columns are seen, those of padding too
        thought = prj(out.hidden_states[-1][:, -1:]) if prj else out.hidden_states[-1][:, -1:]
        everything = torch.ones(len(rows), width + i + 1, dtype=torch.long)
        where = torch.full((len(rows), 1), width + i)
        out = lm(inputs_embeds=thought, attention_mask=everything, position_ids=where, **past)
    said, n = padded([[ids["eot"]] + answer for answer in answers], left=False), width + options["num_latent"]
    before = torch.cat([real, torch.ones(len(rows), options["num_latent"], dtype=torch.long)], 1)
    before = before if options["fix_attn_mask"] else torch.ones_like(before)
    where = (n + torch.arange(said.shape[1]))[None].expand_as(said)
    out = lm(input_ids=said, attention_mask=torch.cat([before, torch.ones_like(said)], 1), position_ids=where, **past)
    student = cross_entropy(out.logits, said, torch.ones(len(rows), dtype=torch.long), ids["pad"])
    at_student = [level[rows, len(ids["answer_prompt"]) + behind] for level in out.hidden_states]

    taught = padded([q + c + a for q, c, a in zip(questions, chains, answers)], left=False)
    out = lm(input_ids=taught, attention_mask=(taught != ids["pad"]).long(), output_hidden_states=True)
    teacher = cross_entropy(out.logits, taught, torch.tensor([len(question) for question in questions]), ids["pad"])
    doors = torch.tensor([len(q) + len(c) for q, c in zip(questions, chains)]) + len(ids["answer_prompt"]) - 1 + behind
    at_teacher = [level[rows, doors].detach() for level in out.hidden_states]

    distance = {"smooth_l1": F.smooth_l1_loss, "l1": F.l1_loss, "l2": F.mse_loss}[options["distill_loss_type"]]
    power = (2 if options["distill_loss_type"] == "l2" else 1) * options["distill_loss_div_std"]
    distill = torch.stack([distance(s, t) / t.std() ** power for s, t in zip(at_student, at_teacher)]).mean()
    return student, options["distill_loss_factor"] * distill, options["ref_loss_factor"] * teacher


def cross_entropy(logits, ids, first, pad):
    """Mean over all tokens of the batch from `first` on, padding left out."""
    wanted = ids.masked_fill((ids == pad) | (torch.arange(ids.shape[1]) < first[:, None]), -100)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), wanted[:, 1:].flatten())


def projection(options, d):
    """The official module, its dropout left out; None without one."""
    if not options["use_prj"]:
        return None
    layers = [nn.Dropout(0.0), nn.Linear(d, options["prj_dim"]), nn.GELU(), nn.Linear(options["prj_dim"], d)]
    prj = nn.Sequential(*layers)
    if not options["prj_no_ln"]:
        prj.add_module("ln", nn.LayerNorm(d))
    return prj


def write(folder, name):
    shape, ragged, differ = CASES[name]
    torch.manual_seed(len(name))
    config = AutoConfig.for_model(**shape, vocab_size=PAD, bos_token_id=EOS, eos_token_id=EOS, initializer_range=0.3)
    dropouts = ("attn_pdrop", "embd_pdrop", "resid_pdrop") if shape["model_type"] == "gpt2" else ("attention_dropout",)
    config.update(dict.fromkeys(dropouts, 0.0))
    facts = {"arch": shape["model_type"], "config": config.to_dict(), "lora": {"use": False}, "options": OPTIONS | differ,
             "ids": {"pad": PAD, "bot": BOT, "eot": EOT, "eos": EOS, "answer_prompt": PROMPT}}  # fmt: skip

    def some(n):
        return torch.randint(2, PAD, (n,)).tolist()

    lengths = [(8, 6, 2), (5, 4, 1), (8, 7, 3), (3, 2, 2)] if ragged else [(8, 6, 2)] * 4
    facts["examples"] = [
        {"question": some(q), "cot": some(c), "answer": [*PROMPT, *some(a), EOS]} for q, c, a in lengths
    ]
    config.vocab_size = PAD + 3
    lm = AutoModelForCausalLM.from_config(config, dtype=torch.float64)
    prj = projection(facts["options"], 32)
    prj = prj.double() if prj else None
    parts = losses(lm, prj, facts)
    values = [part.item() for part in parts]
    facts |= dict(zip(("ce_loss", "distill_loss", "ref_ce_loss"), values), loss=sum(values))
    sum(parts).backward()
    weights = {f"codi.{key}": value for key, value in lm.named_parameters()}
    weights |= {f"prj.{key}": value for key, value in prj.named_parameters()} if prj else {}
    facts["gradient_norms"] = {key: value.grad.norm().item() for key, value in weights.items() if value.grad is not None}
    facts["made_by"] = "tests/golden_formulae.py, not the official code"
    save_file({key: value.detach().contiguous() for key, value in weights.items()}, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    for case in CASES:
        write(Path(sys.argv[1]), case)
