"""A safetensors file that is cut short or of which any byte has changed is found out, or what it says is the same."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from latent_backbones.weights import save_tensors
from latent_backbones.whole import BrokenFile, check_whole, set_aside_broken

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3, dtype=torch.bfloat16)}


def said(path) -> tuple:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
    return {n: (t.dtype, t.tolist()) for n, t in load_file(path).items()}, {k: metadata.get(k) for k in ("progress", "spec")}


@pytest.fixture
def path(tmp_path):
    save_tensors(tmp_path / "x.safetensors", TENSORS, {"progress": '{"step": 3, "sha256":"no"}'})
    return tmp_path / "x.safetensors"


def test_any_changed_byte_is_found(path):
    whole, content = said(path), path.read_bytes()
    check_whole(path)
    harmless = 0
    for i in range(len(content)):
        for flip in (1, 0x80):
            path.write_bytes(content[:i] + bytes([content[i] ^ flip]) + content[i + 1 :])
            try:
                check_whole(path)
            except BrokenFile as error:
                assert str(path) in str(error) and "\n" not in str(error)
            else:
                harmless += 1
                assert said(path) == whole, i
    assert harmless <= 12, "but for the checksum's own name, nothing can change"


def test_any_cut_is_found_and_set_aside(path):
    content = path.read_bytes()
    for length in [*range(0, len(content), 7), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(BrokenFile, match="x.safetensors is damaged"):
            check_whole(path)
    assert "set aside as x.safetensors.broken" in set_aside_broken(path)
    assert [item.name for item in path.parent.iterdir()] == ["x.safetensors.broken"] and set_aside_broken(path) == ""


def test_files_from_elsewhere_have_no_checksum(tmp_path):
    save_file(TENSORS, tmp_path / "theirs.safetensors", {"format": "pt"})
    check_whole(tmp_path / "theirs.safetensors")
    save_file({}, tmp_path / "empty.safetensors")
    check_whole(tmp_path / "empty.safetensors")
