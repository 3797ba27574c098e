"""The groups of parameters: their fields, and what others call these.

A parameter annotated `dict` whose name is a group's holds fields of a dataclass, only those that differ from its defaults:
`model = {"n_layers": 2}`. From the command line and in grids a field is named with its group: `model.n_layers=2`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

TASK = "arithmetic"  # of a lesson that names none


@dataclass(frozen=True)
class Run:
    """Group `run`: what a headless run is told, and a lesson by hand is not."""

    tier: str = "tiny"
    dir: str = ""  # where the run leaves its record; "" records nothing
    init_from: str = ""  # the folder of a trained model to start from
    budget: float = 1.0  # multiplies all step counts; anything but 1 is recorded as a smoke run
    n_processes: int = 0  # that share a batch; 0: one for each GPU there is


@dataclass(frozen=True)
class Data:
    """Group `data`: which problems, and how they are written and answered."""

    options: Mapping[str, Any] = field(default_factory=dict)  # of the task's own function
    n_train: int = 10_000  # few enough that an epoch is 78 steps: the papers, too, pass over their problems some 40 times
    n_valid: int = 300
    n_test: int = 1000
    out_of_domain: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by name: options that differ
    max_tokens: int = 0  # leaves longer training problems out, by all that is read; 0 keeps all
    max_text_tokens: int = 0  # the same by question, steps and answer as one plain text (CODI: max_token_num)
    answer_prompt: str = "The answer is:"  # CODI's; official Coconut code: "###"
    text: Literal["lines", "joined"] = "lines"  # question and steps a line each; CODI on GSM8k: all in one line
    bos: bool = False  # begin as the tokenizer begins a text (Llama); official Coconut and CODI: True
    max_new_tokens: int = 32
    n_thoughts_at_test: int = 0  # 0: as many as in training


@dataclass(frozen=True)
class FrozenTable:
    """Group `frozen`: how lesson 05 makes its models and which rows its table has."""

    train_split: str = "train"
    test_split: str = "test"  # the same as train_split: its first n_test problems are for the test, the others for training
    smaller_layers: int = 10  # "smaller" (and "random") beside a pretrained base: its first layers
    d_assistant: int = 48  # tiny: the assistant's width
    base_steps: int = 600  # tiny: too few to make it perfect
    assistant_steps: int = 600
    placeholders: list[str] = field(default_factory=list)  # SoftCoT++: several tokens, an answer each; []: <unk> or padding
    pause_row: bool = True  # prompt tuning: one learned embedding in the thoughts' place
    lora_rank: int = 4  # 0: no LoRA rows
    lora_lr: float = 3e-3
    coconut_stages: int = 3  # Coconut on LoRA, a step a stage; 0: no such row
    sweep: list[int] = field(default_factory=lambda: [1, 4, 8])  # thoughts in training × in evaluation, a training each
    temperature: float = 0.0  # paper: 1.0, with seeds 41 to 45
    eval_seeds: list[int] = field(default_factory=lambda: [0])  # several: the mean, and the majority's answer
    hint_tokens: int = 7  # tiny: one written step
    eval_batch: int = 128


SYNONYMS = {  # what others call it: what it is called here
    "lr": "learning_rate initial_lr base_lr step_size peak_lr",
    "steps": "epochs epoch n_epochs num_epochs num_train_epochs max_steps n_steps train_steps iters num_steps total_steps",
    "seed": "random_seed rng_seed manual_seed",
    "task": "dataset data_path dataset_name data_name benchmark data_file train_file",
    "method": "algorithm algo approach mode",
    "batch_size": "batch bs train_batch_size per_device_train_batch_size global_batch_size",
    "micro_batch": "micro_batch_size gradient_accumulation_steps grad_accum accumulation_steps",
    "weight_decay": "wd decay",
    "clip": "max_grad_norm grad_clip gradient_clipping clip_grad_norm",
    "warmup": "warmup_steps num_warmup_steps warmup_ratio n_warmup",
    "schedule": "scheduler lr_scheduler lr_scheduler_type",
    "precision": "bf16 fp16 dtype torch_dtype mixed_precision amp half",
    "reset_every": "reset_optimizer",
    "checkpoint_every": "save_steps save_every checkpoint_steps",
    "validations": "eval_steps eval_every n_validations",
    "lm": "model_name model_name_or_path base_model model_id backbone pretrained model_path llm hf_model",
    "n_layers": "layers num_layers n_layer num_hidden_layers depth",
    "n_heads": "heads num_heads n_head num_attention_heads",
    "d_model": "hidden_size n_embd dim hidden_dim width embed_dim d_hidden",
    "context": "max_position_embeddings n_positions block_size context_length max_seq_len seq_len",
    "lora_rank": "lora_r rank r lora",
    "n_thoughts": "n_latents num_latents n_latent num_latent latents thoughts num_thoughts c_thought num_thought_tokens",
    "n_stages": "stages max_latent_stage num_stages",
    "latents_per_step": "c_thought c",
    "distill_weight": "distill_loss_factor gamma",
    "n_train": "train_size num_train n_samples max_train_samples",
    "n_test": "test_size num_test max_eval_samples n_eval",
    "n_valid": "valid_size n_val num_valid val_size",
    "max_tokens": "max_length max_len",
    "max_text_tokens": "max_token_num",
    "max_new_tokens": "max_gen_length max_generated_tokens gen_len",
    "init_from": "checkpoint ckpt resume_from load_model_path init start_from warm_start",
    "n_processes": "num_processes n_gpus gpus num_gpus world_size nproc devices",
    "dir": "output_dir out save_dir save_path log_dir",
}

GROUPS = {  # a group's fields; a class that needs torch is imported when the group is used
    "run": ("latent_runs.groups:Run",),
    "data": ("latent_runs.groups:Data",),
    "model": ("latent_cot.models:ReasonerSpec",),
    "training": ("latent_cot.training:TrainOptions", "latent_cot.curriculum:Budget"),
    "frozen": ("latent_runs.groups:FrozenTable",),
}
