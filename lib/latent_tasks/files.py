"""Records of data files, each with its place ("test.jsonl:12", or "SVAMP.json#12" in an array).

A file is somebody else's: whatever is wrong with it is one error, which names file and line, and no file takes more memory
than `MOST` allows.
"""

import csv
import gzip
import io
import json
import re
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latent_tasks.problem import DataError

MOST = 2**28  # bytes of a file, unpacked; the largest published one has a quarter of that
LONGEST = 2**20  # characters of a line, or of a text in an array
NO_TEXT = re.compile("[\x00-\x08\x0e-\x1f\ud800-\udfff]")  # control characters, and halves of a pair


def read_records(path: Path, form: str = "") -> Iterator[tuple[str, Any]]:
    """Places and records of a file, plain or .gz; DataError, with file and line, where it cannot be read.

    The form is "json" (an array), "jsonl", "csv" (with a line of names), "txt" (question||answer) or "xml": the name's ending
    unless given. A byte order mark and any ends of lines will do.
    """
    name, line = f"{path.parent.name}/{path.name}", 1
    form = form or path.name.removesuffix(".gz").rpartition(".")[2]
    try:
        text = _text(path)
        if form in ("jsonl", "txt"):
            for line, content in enumerate(text.split("\n"), start=1):  # not splitlines: U+2028 occurs inside lines
                if len(content) > LONGEST:
                    raise ValueError(f"a line of {len(content):,} characters; expected at most {LONGEST:,}")
                if content.strip():
                    piped = zip(("question", "answer"), content.split("||"), strict=False)
                    yield f"{name}:{line}", _sound(_json(content) if form == "jsonl" else dict(piped))
            return
        if form == "csv":
            rows = csv.reader(io.StringIO(text), strict=True)
            names = next(rows)
            while (line := rows.line_num + 1) and (row := next(rows, None)) is not None:
                if row and len(row) != len(names):
                    raise ValueError(f"{len(row)} columns; expected {len(names)}: {', '.join(names)}")
                if row:
                    yield f"{name}:{line}", _sound(dict(zip(names, row, strict=True)))
            return
        if form == "json":
            records = _json(text)
            records = records.get("examples") if isinstance(records, dict) else records  # BIG-bench wraps its array
        elif form == "xml":
            records = [{child.tag: child.text for child in problem} for problem in ET.fromstring(text).iter("Problem")]
        else:
            raise ValueError(f"a file of the kind {form!r}; expected one of json, jsonl, csv, txt, xml")
        if not isinstance(records, list) or not records:
            raise ValueError("expected a non-empty array of records")
        for number, record in enumerate(records, start=1):
            try:
                yield f"{name}#{number}", _sound(record)
            except ValueError as error:
                raise DataError(f"{name}#{number}: {error}") from error
    except DataError:
        raise
    except RecursionError:
        raise DataError(f"{name}:{line}: nested too deeply") from None
    except (ValueError, OSError, EOFError, zlib.error, ET.ParseError, csv.Error) as error:
        if isinstance(error, UnicodeDecodeError):
            line = error.object.count(b"\n", 0, error.start) + 1
        elif isinstance(error, json.JSONDecodeError):
            line += error.lineno - 1
        elif isinstance(error, ET.ParseError):
            line = error.position[0]
        raise DataError(f"{name}:{line}: {getattr(error, 'msg', error)}") from error


def _text(path: Path) -> str:
    """All of a file, unpacked no further than is allowed, its lines ended as ours are."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        content = file.read(MOST + 1)
    if len(content) > MOST:
        raise ValueError(f"more than {MOST:,} bytes, which no data file here may have")
    text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise ValueError("the file is empty")
    return text


def _json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is there twice in one record")
    return found


def _sound(value: Any) -> Any:
    """The value, if its texts can be read. Raises ValueError for a control character or half of one beyond 16 bits."""
    if isinstance(value, str):
        if len(value) > LONGEST:
            raise ValueError(f"a text of {len(value):,} characters; expected at most {LONGEST:,}")
        if odd := NO_TEXT.search(value):
            raise ValueError(f"the character {odd[0]!r} in {value[:40]!r}, which is no text")
    elif isinstance(value, dict):
        for part in value.values():
            _sound(part)
    elif isinstance(value, list):
        for part in value:
            _sound(part)
    return value


def ask_hub() -> None:
    """Raise at once, whatever its client raises, if the Hugging Face hub is out of reach; by itself the client would try for
    half a minute. With HF_HUB_OFFLINE=1 nothing is asked."""
    from huggingface_hub import constants, get_session  # here, because importing it takes a second

    if not constants.HF_HUB_OFFLINE:
        get_session().head(constants.ENDPOINT, timeout=5)
