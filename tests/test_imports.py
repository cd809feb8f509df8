"""Imports of the library go one way: from upper rooms to lower ones."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1] / "dear_jax"
# From below.
ORDER = """
errors typing files bundled multihost checkpoint images models weights metrics inference
convert data evaluation training cli __main__
""".split()
LEVEL = {room: level for level, room in enumerate(ORDER)}


def imported(path: Path) -> set[str]:
    """Rooms that a file of the library imports, inside of functions too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    parts = [name.split(".") for name in names]
    # The package itself has the version only.
    return {p[1] for p in parts if p[0] == "dear_jax" and p[1:]} - {"__version__"}


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
