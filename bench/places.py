"""Where measuring keeps its things: all of it under a folder that git ignores."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BENCH = ROOT / "bench"
WORK = ROOT / ".marsmith" / "bench"
RESULTS = WORK / "results"
LOGS = WORK / "logs"
PHOTOS = WORK / "photos"  # int8 is calibrated on some of them, the others are not seen before
DIGITS = WORK / "digits"  # IDX files, or pictures of digits, that are sent
ARTIFACTS = WORK / "artifacts"  # models for other engines, as `marsmith export --keep` leaves them
DOCUMENT = ROOT / "docs" / "explanation" / "benchmarks.md"
TOOLS = Path(sys.executable).parent  # the programs of the environment that measures
