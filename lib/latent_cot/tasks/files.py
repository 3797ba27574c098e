"""Records of published data files, each with the place it came from, so that every error names file and line.

A record is (place, object): place is "test.jsonl:12" for a line, "SVAMP.json#12" for an element of an array.
"""

import gzip
import json
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator
from pathlib import Path

from latent_cot.tasks.problem import DataError

Record = tuple[str, dict]


def read_records(path: Path, form: str = "") -> Iterator[Record]:
    """Records of a file in form "json" (an array), "jsonl", "txt" (question||cot #### answer) or "xml".

    The form is the name's ending unless given; ".gz" is unpacked on the way. Raises DataError for a file that is
    empty, is not UTF-8, or does not parse.
    """
    name = f"{path.parent.name}/{path.name}"
    text = _decode(path, name)
    form = form or path.name.removesuffix(".gz").rpartition(".")[2]
    try:
        if form in ("jsonl", "txt"):
            for number, line in enumerate(text.split("\n"), start=1):  # not splitlines: U+2028 occurs inside lines
                if line.strip():
                    place = f"{name}:{number}"
                    yield place, _object(json.loads(line)) if form == "jsonl" else _piped(line)
        elif form == "json":
            content = json.loads(text)
            records = content.get("examples") if isinstance(content, dict) else content  # BIG-bench wraps its array
            if not isinstance(records, list) or not records:
                raise DataError(f"{name}: expected a non-empty array of records")
            for number, record in enumerate(records, start=1):
                place = f"{name}#{number}"
                yield place, _object(record)
        else:
            for number, element in enumerate(ET.fromstring(text).iter("Problem"), start=1):
                yield f"{name}#{number}", {child.tag: child.text for child in element}
    except json.JSONDecodeError as error:
        line = place if form == "jsonl" else f"{name}:{error.lineno}"
        raise DataError(f"{line}: not valid JSON ({error.msg})") from error
    except ET.ParseError as error:
        raise DataError(f"{name}:{error.position[0]}: not valid XML ({error})") from error
    except ValueError as error:
        raise error if isinstance(error, DataError) else DataError(f"{place}: {error}") from error


def _decode(path: Path, name: str) -> str:
    data = path.read_bytes()
    try:
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(f"{name}:{line}: not UTF-8 (byte {data[error.start]:#04x})") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name}: not a complete gzip file ({error})") from error
    if not text.strip():
        raise DataError(f"{name}:1: the file is empty")
    return text


def _object(record: object) -> dict:
    if not isinstance(record, dict):
        raise ValueError("a record must be a JSON object")
    return record


def _piped(line: str) -> dict:
    """A line of the iCoT files as a record with the hub's columns."""
    question, bars, rest = line.partition("||")
    cot, marker, answer = rest.partition("####")
    if not bars or not marker:
        raise ValueError("expected question||steps #### answer")
    return {"question": question, "cot": cot, "answer": answer}
