"""Write results.json into docs/explanation/reliability.md: python -m tests.faults.document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "reliability.md"
# A mark of the page → the systems of its table, by their names in results.json.
TABLES = {
    "faults": {"marsmith": "Marsmith", "torchserve": "TorchServe"},
    "gateway": {"gateway + local": "local", "gateway + torchserve": "TorchServe behind it"},
}
_COUNTS = ("sent", "right", "refused", "wrong", "lost")


def faults_table(values: dict[str, Any], systems: Mapping[str, str]) -> list[str]:
    """Return the table of faults of two systems (name in `values` → heading).

    A fault that one of them did not meet has a dash there.
    """
    counts = "sent / right / refused / wrong / lost"
    heads = "".join(f" {heading}: {counts} | slowest |" for heading in systems.values())
    lines = [f"| fault |{heads}", "| --- | --- | --- | --- | --- |"]
    met = [values.get(name, {}) for name in systems]
    for fault in {one: None for faults in met for one in faults}:
        cells = [cell for faults in met for cell in _cells(faults.get(fault))]
        lines.append(f"| {' | '.join([fault, *cells])} |")
    return lines


def _cells(figures: dict[str, float] | None) -> tuple[str, str]:
    if figures is None:
        return "—", ""
    counts = " / ".join(f"{int(figures[name]):,}" for name in _COUNTS)
    return counts, f"{figures['slowest']:.1f} s"


def soak_table(values: dict[str, Any]) -> list[str]:
    """Return the figures of the soak."""
    rows = [f"| {name} | {value:,.12g} |" for name, value in values.get("soak", {}).items()]
    return ["| soak | |", "| --- | ---: |", *rows]


def filled(page: str, name: str, lines: list[str]) -> str:
    """Return the page with these lines between the marks of that name."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- /{name} -->"
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    if not after:
        raise SystemExit(f"{PAGE} has no marks for {name}")
    return before + begin + "\n".join(lines) + end + after


def main() -> None:
    """Fill the page."""
    values = json.loads(RESULTS.read_text())
    page = PAGE.read_text()
    for mark, systems in TABLES.items():
        page = filled(page, mark, faults_table(values, systems))
    PAGE.write_text(filled(page, "soak", soak_table(values)))


if __name__ == "__main__":
    main()
