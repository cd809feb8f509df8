"""How large the project is, and how many of its files one command runs through.

    python benchmarks/structure.py [TREE ...]

TREE is a checkout, this one unless named; several stand side by side. Lines are all
lines of Python files. A command runs through a file of `dear_jax` if it calls a
function there; the commands enlarge the bundled photo of a cat, make three training
steps of configs/quickstart.py and evaluate one bundled photo. Packages that import each
other in a circle are found from import statements, those inside functions too.
"""

import argparse
import ast
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parents[1]
# argv[1]: the package; argv[2]: where its files are listed; then the command.
TRACED = """
import inspect, os, runpy, sys, threading
package, listed, *sys.argv = sys.argv[1:]
seen = set()
def note(frame, event, argument):
    code = frame.f_code
    # Bodies of classes and modules lack the flag of functions.
    if code.co_flags & inspect.CO_OPTIMIZED and code.co_filename.startswith(package):
        seen.add(code.co_filename)
sys.path.insert(0, os.getcwd())
threading.setprofile(note)
sys.setprofile(note)
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    sys.setprofile(None)
    with open(listed, "w") as file:
        file.write("\\n".join(seen))
"""
PHOTO = "dear_jax/assets/photos/cat.png"
COMMANDS = {
    "dear restore": f"dear_jax/__main__.py restore {PHOTO} --scale 2 --out OUT/x.png",
    "run_train.py": "run_train.py --config=configs/quickstart.py --workdir=OUT/run "
    "--config.train.steps=3 --config.evaluate.every=0 --config.checkpoint.every=3",
    "run_eval.py": "run_eval.py --scale 6 --limit 1 --out OUT/eval",
}


def lines_of(folder: Path) -> tuple[int, int, int]:
    """Lines, files and folders of the Python below a folder."""
    files = list(folder.rglob("*.py"))
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)
    return lines, len(files), len({file.parent for file in files}) - 1


def files_run(tree: Path, command: str) -> int:
    """Files of the library in which a function is called by a command."""
    with tempfile.TemporaryDirectory() as out:
        listed = Path(out, "listed")
        arguments = [str(tree / "dear_jax"), str(listed)]
        arguments += command.replace("OUT", out).split()
        process = subprocess.run(
            [sys.executable, "-c", TRACED, *arguments],
            cwd=tree,
            capture_output=True,
            text=True,
        )
        if process.returncode:
            sys.exit(f"{tree}: {command}\n{process.stderr}")
        return len(set(listed.read_text().split("\n")))


def imported(path: Path) -> set[str]:
    """Packages, or files beside them, that a file imports, in functions too."""
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


def circles_of(tree: Path) -> list[set[str]]:
    """Groups of packages that import each other, directly or by way of others."""
    reached: dict[str, set[str]] = {}
    library = tree / "dear_jax"
    for file in library.rglob("*.py"):
        importer = file.relative_to(library).parts[0].removesuffix(".py")
        if importer != "__init__":
            reached.setdefault(importer, set()).update(imported(file))
    for _ in reached:
        for name in reached:
            reached[name] |= set().union(*(reached.get(n, ()) for n in reached[name]))
    groups: list[set[str]] = []
    for name in sorted(reached):
        group = {n for n in reached[name] if name in reached.get(n, ())} | {name}
        if len(group) > 1 and group not in groups:
            groups.append(group)
    return groups


def rows(tree: Path) -> Iterator[tuple[str, str]]:
    """What is measured, and what came out."""
    lines, files, folders = lines_of(tree / "dear_jax")
    yield "`dear_jax`: lines, files, folders", f"{lines:,}, {files}, {folders}"
    for name in ("tests", "benchmarks"):
        lines, files, _ = lines_of(tree / name)
        yield f"{name}: lines, files", f"{lines:,}, {files}"
    for name, command in COMMANDS.items():
        yield f"files that `{name}` runs through", str(files_run(tree, command))
    circles = [", ".join(sorted(group)) for group in circles_of(tree)]
    yield "packages that import in a circle", "; ".join(circles) or "none"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trees", nargs="*", type=Path, default=[HERE], metavar="TREE")
    trees = [tree.resolve() for tree in parser.parse_args().trees]
    print("| |", " | ".join(tree.name for tree in trees), "|")
    print("|---" * (len(trees) + 1) + "|")
    for columns in zip(*map(rows, trees), strict=True):
        print(f"| {columns[0][0]} | {' | '.join(value for _, value in columns)} |")


if __name__ == "__main__":
    main()
