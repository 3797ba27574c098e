"""Take progress bars out of stored notebooks: `make strip`. What is stored of a widget is its first text, "0%", for ever."""

import json
import re
import sys
from pathlib import Path

BAR = re.compile(r"\s*\d+%\|")


def bars(cell: dict) -> list[dict]:
    """The outputs of a cell that are progress bars."""
    texts = ((output, "".join(output.get("data", {}).get("text/plain", ""))) for output in cell.get("outputs", ()))
    return [output for output, text in texts if BAR.match(text)]


def strip(path: Path) -> None:
    """Rewrite a notebook without its progress bars, if it has any."""
    document = json.loads(path.read_text(encoding="utf-8"))
    found = [(cell, bars(cell)) for cell in document["cells"]]
    for cell, gone in found:
        cell.update({"outputs": [output for output in cell["outputs"] if output not in gone]} if gone else {})
    if any(gone for _, gone in found):
        path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        strip(Path(name))
