"""Small random models of the published families in folders, with a tokenizer whose tokens are bytes: any text can be read."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PreTrainedTokenizerFast

END = "<|end|>"
SHAPE = {"vocab_size": 257, "bos_token_id": 0, "eos_token_id": 0}
CONFIGS = {
    "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=512, **SHAPE),
    "llama": LlamaConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        tie_word_embeddings=True, **SHAPE,
    ),
}  # fmt: skip


def write_backbone(name: str, folder: Path, seed: int = 0) -> Path:
    """Weights, configuration and tokenizer as transformers saves them."""
    words = {END: 0} | {sign: i + 1 for i, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(words, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=END, eos_token=END).save_pretrained(folder)
    torch.manual_seed(seed)
    AutoModelForCausalLM.from_config(CONFIGS[name]).save_pretrained(folder)
    return folder
