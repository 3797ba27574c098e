"""Records of published data files, each with its place ("test.jsonl:12", or "SVAMP.json#12" in an array)."""

import gzip
import json
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from latent_tasks.problem import DataError


def read_records(path: Path, form: str = "") -> Iterator[tuple[str, Any]]:
    """Places and records of a file, plain or .gz; DataError, with file and line, where it cannot be read.

    The form is "json" (an array), "jsonl", "txt" (question||answer) or "xml": the name's ending unless given.
    """
    name, line = f"{path.parent.name}/{path.name}", 1
    form = form or path.name.removesuffix(".gz").rpartition(".")[2]
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            text = file.read().decode()
        if not text.strip():
            raise ValueError("the file is empty")
        if form in ("jsonl", "txt"):
            for line, content in enumerate(text.split("\n"), start=1):  # not splitlines: U+2028 occurs inside lines
                if content.strip():
                    piped = zip(("question", "answer"), content.split("||"), strict=False)
                    yield f"{name}:{line}", json.loads(content) if form == "jsonl" else dict(piped)
            return
        if form == "json":
            records = json.loads(text)
            records = records.get("examples") if isinstance(records, dict) else records  # BIG-bench wraps its array
        else:
            records = [{child.tag: child.text for child in problem} for problem in ET.fromstring(text).iter("Problem")]
        if not isinstance(records, list) or not records:
            raise ValueError("expected a non-empty array of records")
        yield from ((f"{name}#{number}", record) for number, record in enumerate(records, start=1))
    except (ValueError, OSError, EOFError, zlib.error, ET.ParseError) as error:
        if isinstance(error, UnicodeDecodeError):
            line = error.object.count(b"\n", 0, error.start) + 1
        elif isinstance(error, json.JSONDecodeError):
            line += error.lineno - 1
        elif isinstance(error, ET.ParseError):
            line = error.position[0]
        raise DataError(f"{name}:{line}: {getattr(error, 'msg', error)}") from error
