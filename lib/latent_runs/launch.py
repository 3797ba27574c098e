"""The same training on several processes, started from a notebook in which nothing has touched CUDA yet."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from accelerate import notebook_launcher
from accelerate.utils import patch_environment

from latent_cot.training import train


def train_on(n_processes: int, *arguments: Any, folder: Path | None = None) -> pd.DataFrame:
    """`train(*arguments, folder=folder)` on `n_processes` that share every batch (0: one for each GPU there is).

    They leave the checkpoint of a finished run, from which this process takes weights and history.
    """
    one: Callable[..., pd.DataFrame] = train
    with tempfile.TemporaryDirectory() as scratch:
        if (n := n_processes or torch.cuda.device_count()) > 1:
            folder = folder or Path(scratch)
            free_port = {"rdzv_backend": "c10d", "rdzv_endpoint": "localhost:0"}
            with patch_environment(accelerate_use_cpu="no" if torch.cuda.device_count() else "yes"):
                notebook_launcher(lambda: one(*arguments, folder=folder, progress_bar=False), (), n, **free_port)
        return one(*arguments, folder=folder)
