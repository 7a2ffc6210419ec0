"""What the scripts measure, as files in docs/results/."""

import json
from pathlib import Path
from typing import Any

from advkeras import provenance

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def write(name: str, facts: dict[str, Any]) -> None:
    """Writes and prints facts, with the versions and the machine that they were found with."""
    text = json.dumps({**facts, "versions": provenance.versions(), "device": provenance.device()}, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)
