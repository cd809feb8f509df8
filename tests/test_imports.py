"""Imports of the library go one way: from upper rooms to lower ones."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from structure import imported  # noqa: E402

ROOT = Path(__file__).parents[1] / "dear_jax"
# From below.
ORDER = """
errors typing files bundled multihost checkpoint images models weights metrics inference
convert data evaluation training export workflow serve site cli __main__
""".split()
LEVEL = {room: level for level, room in enumerate(ORDER)}


def test_no_room_imports_from_an_upper_one():
    files = {path: path.relative_to(ROOT) for path in ROOT.rglob("*.py")}
    rooms = {p: r.parts[0].removesuffix(".py") for p, r in files.items()}
    wrong = [
        f"{files[path]} imports from {other}"
        for path, room in rooms.items()
        if room != "__init__"
        for other in imported(path)
        if LEVEL[other] > LEVEL[room]
    ]
    assert not wrong
    assert set(rooms.values()) - {"__init__"} == set(LEVEL)
