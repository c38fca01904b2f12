"""Write results.json into docs/explanation/reliability.md: python -m tests.faults.document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "reliability.md"
_COUNTS = ("sent", "right", "refused", "wrong", "lost")


def faults_table(values: dict[str, Any]) -> list[str]:
    """Return the table of faults: Marsmith's figures, and TorchServe's where there are some."""
    counts = "sent / right / refused / wrong / lost"
    head = f"| fault | Marsmith: {counts} | slowest | TorchServe: the same | slowest |"
    lines = [head, "| --- | --- | --- | --- | --- |"]
    stock = values.get("torchserve", {})
    for fault, figures in values.get("marsmith", {}).items():
        cells = [fault, *_cells(figures), *_cells(stock.get(fault))]
        lines.append(f"| {' | '.join(cells)} |")
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
    page = filled(PAGE.read_text(), "faults", faults_table(values))
    PAGE.write_text(filled(page, "soak", soak_table(values)))


if __name__ == "__main__":
    main()
