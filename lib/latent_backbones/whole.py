"""Whether a safetensors file is still what was written: safetensors itself has no checksum, so its metadata gets one.

It is the SHA-256 of the file with the checksum's own digits blank, as in a tar header. Files from elsewhere have none; of those
only the layout is looked at.
"""

import hashlib
import json
import os
from pathlib import Path

CHECKSUM, BLANK = "sha256", "0" * 64
LONGEST_HEADER = 100 * 2**20  # bytes; safetensors' own limit


class BrokenFile(ValueError):
    """A file that is cut short or whose bytes have changed; the message names it, in a line."""


def seal(path: Path) -> None:
    """Fill in the checksum of a file that was written with `BLANK` in its place, and see it to the disk."""
    header = _header(path)
    place = 8 + header.index(_entry(BLANK)) + _entry(BLANK).index(BLANK.encode())
    checksum = _sum(path, header)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(checksum.encode())
        file.flush()
        os.fsync(file.fileno())


def check_whole(path: Path) -> None:
    """Raise BrokenFile unless the file is whole and, where it has a checksum, as it was written."""
    header = _header(path)
    try:
        tensors = json.loads(header)
        checksum = tensors.pop("__metadata__", {}).get(CHECKSUM)
        length = 8 + len(header) + max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise BrokenFile(f"{path} is damaged: its header is none") from error
    if length != path.stat().st_size:
        raise BrokenFile(f"{path} is damaged: {path.stat().st_size:,} bytes, of {length:,}")
    if checksum and _sum(path, header.replace(_entry(checksum), _entry(BLANK), 1)) != checksum:
        raise BrokenFile(f"{path} is damaged: its checksum is another")


def set_aside_broken(path: Path) -> str:
    """Rename a broken file to `<name>.broken` and say so in a line; "" if it is whole, or not there."""
    try:
        if path.exists():
            check_whole(path)
        return ""
    except BrokenFile as error:
        aside = path.with_name(f"{path.name}.broken")
        if path.exists():  # else another process of this run was faster
            path.replace(aside)
        return f"{error}; set aside as {aside.name}, its training starts anew"


def _entry(checksum: str) -> bytes:
    """As it stands in the header, without spaces; a quote inside a value would be escaped."""
    return f'"{CHECKSUM}":"{checksum}"'.encode()


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(LONGEST_HEADER, path.stat().st_size):
            raise BrokenFile(f"{path} is damaged: cut short, or no safetensors file")
        return file.read(length)


def _sum(path: Path, header: bytes) -> str:
    digest = hashlib.sha256(len(header).to_bytes(8, "little") + header)
    with path.open("rb") as file:
        file.seek(8 + len(header))
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
