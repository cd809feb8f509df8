"""Says which of the paper's claims hold in small, from the tables' images.

    python results/comparison/claims.py runs/comparison

The folder has table-1.json to table-6.json, as run_eval.py --table N writes them.
Each line is a mean difference on the same images, in dB of PSNR, with its 95 %
interval (bootstrap over photos) and the p of a paired test (sign flips over photos).
"""

import json
import sys
from pathlib import Path

from dear_jax.evaluation.scores import Score
from dear_jax.evaluation.stats import Results, compare, difference, gather

# Title, table, pairs: does the first do better than the second?
CLAIMS = (
    (
        "one model against two, LTE and LIIF as the one (Table 1)",
        1,
        tuple(
            (one, two)
            for one in ("LTE", "LIIF")
            for two in ("MISF→LTE", "MISF→EDSR", "MISF→ELAN", "LAMA→LTE")
        ),
    ),
    (
        "each part helps (Table 5)",
        5,
        (("+DSE", "Base"), ("+USE", "+DSE"), ("+PIM", "+USE"), ("+PIM", "Base")),
    ),
    (
        "where the paper can be read in another way (Table 5): the variant - DEAR",
        5,
        (
            ("high-pass: ones", "+PIM"),
            ("keys: known", "+PIM"),
            ("norm: instance", "+PIM"),
            ("cell: told", "+PIM"),
            ("residual: bilinear", "+PIM"),
            ("residual: fill", "+PIM"),
        ),
    ),
    (
        "better than other models of any scale (Table 6)",
        6,
        (("DEAR", "LIIF"), ("DEAR", "LTE"), ("LTE", "LIIF")),
    ),
    (
        "as good at enlarging alone (Table 3)",
        3,
        (("DEAR", "LIIF"), ("DEAR", "LTE"), ("DEAR", "classical")),
    ),
    (
        "as good at completing alone (Table 4)",
        4,
        (("DEAR", "MISF"), ("DEAR", "LAMA"), ("DEAR", "classical")),
    ),
    (
        "fill first, then enlarge (Table 1): fill first - enlarge first",
        1,
        tuple(
            (f"{fill}→{enlarge}", f"{enlarge}→{fill}")
            for fill in ("MISF", "LAMA")
            for enlarge in ("BI", "EDSR", "LTE", "ELAN")
        ),
    ),
)


def read_rows(path: Path) -> dict[tuple[str, float], Results]:
    """(row, scale) -> what it scored, of a table's JSON."""
    scores: dict[tuple[str, float], list[Score]] = {}
    for image in json.loads(path.read_text(encoding="utf-8"))["images"]:
        row = image.pop("row")
        image.pop("dataset")
        score = Score.from_row(image)
        scores.setdefault((row, score.scale), []).append(score)
    return {key: gather(found, ["psnr"]) for key, found in scores.items()}


def tell(title: str, differences: dict[str, Results]) -> None:
    """Prints a line for each difference; nothing if there is none."""
    if not differences:
        return
    print(f"\n{title}")
    for (name, _), found in compare(differences).items():
        interval = f"{found.low:+.2f} to {found.high:+.2f}"
        print(f"  {name:44} {found.mean:+.2f} dB  ({interval})  p {found.p:.4f}")


def main() -> None:
    """Reads the tables and prints what the claims come to."""
    folder = Path(sys.argv[1])
    tables = {n: read_rows(folder / f"table-{n}.json") for n in range(1, 7)}
    for title, number, pairs in CLAIMS:
        rows = tables[number]
        found = {}
        for scale in sorted({scale for _, scale in rows}):
            for one, other in pairs:
                if (one, scale) in rows and (other, scale) in rows:
                    name = f"x{scale:g} {one} - {other}"
                    found[name] = difference(rows[one, scale], rows[other, scale])
        tell(title, found)
    for model in ("DEAR", "dear-lite"):
        for number, title in ((1, "than every other row"), (2, "at every scale")):
            rows = tables[number]
            found = {
                f"x{scale:g} {model} - {row}": difference(rows[model, scale], theirs)
                for (row, scale), theirs in rows.items()
                if row != model
            }
            tell(f"{model} better {title} (Table {number})", found)


if __name__ == "__main__":
    main()
