"""Options and fixtures that all tests share."""

import os
from pathlib import Path

import pytest

# Before torch: the tests run side by side, and a process forked from one in which OpenMP had threads would hang.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_addoption(parser):
    """`--golden DIR`: golden cases of the official code to check against; `--device`: where."""
    default = Path(__file__).parent / "golden"
    parser.addoption("--golden", type=Path, default=default, metavar="DIR", help="golden cases (default: tests/golden)")
    parser.addoption("--device", default="cpu", help="where the golden cases are computed (default: cpu)")


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder with the real datasets; a test that needs it is skipped without it."""
    folder = os.environ.get("LATENT_COT_DATA")
    if not folder:
        pytest.skip("LATENT_COT_DATA is not set: no real datasets here")
    return Path(folder)


@pytest.fixture(scope="session")
def llama(tmp_path_factory) -> str:
    """The folder of a small LLaMA with random weights, in bf16 as published ones are, which knows arithmetic's words."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from latent_backbones.tokens import tiny_tokenizer
    from latent_tasks import load_task

    folder = tmp_path_factory.mktemp("llama")
    tokenizer = tiny_tokenizer(load_task("arithmetic", sizes={"train": 1}).words)
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 96}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    special = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    config = LlamaConfig(vocab_size=len(tokenizer), initializer_range=0.1, **shape, **heads, **special)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture
def notebook(tmp_path):
    """A function that writes a notebook: `notebook("name", parameters_source, *other_sources)`."""
    import nbformat

    def write(name: str, parameters: str, *sources: str) -> Path:
        cells = [nbformat.v4.new_code_cell(source) for source in (parameters, *sources)]
        cells[0].metadata["tags"] = ["parameters"]
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        path.parent.mkdir(exist_ok=True)
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
        return path

    return write
