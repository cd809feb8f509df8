"""The paper's tables, filled by what is here: run_eval.py --table."""

from collections.abc import Mapping
from pathlib import Path

from tqdm import tqdm

from dear_jax import files
from dear_jax.errors import InputError
from dear_jax.evaluation import protocol
from dear_jax.evaluation.measuring import Measuring
from dear_jax.tables import export, pictures, render
from dear_jax.tables.filled import Filled, fill_table
from dear_jax.tables.paper import paper_tables
from dear_jax.tables.rows import measure_rows, open_cases, rows_of
from dear_jax.tables.setup import PhotoSet, Setup, read_setup


def measure_table(
    number: int,
    setup: str | Path,
    data: str | None,
    masks: str | None,
    weights: Path,
    limit: int | None,
    out: Path,
) -> str:
    """Measures a table and writes it as text, Markdown, CSV, JSON and pictures.

    Args:
      number: of the table, 1 to 6.
      setup: file that says what fills it, see `setup`.
      data, masks: photos for its first set in place of the setup's; may be None.
      weights: folder in which rows find theirs.
      limit: only the first photos of each set.
      out: folder of results; gets table-N.txt and so on.

    Returns:
      The table as text, and what else was written where.

    Raises:
      InputError: for what cannot be opened, before any work where possible.
    """
    if number not in paper_tables():
        raise InputError(f"--table {number}: the paper has tables 1 to 6")
    table, filling = paper_tables()[number], read_setup(setup, number)
    if data:
        own = PhotoSet(data, masks or "bundled")
        filling = Setup({table.datasets[0]: own}, filling.systems, filling.extra)
    cases = open_cases(table, filling.data, limit)
    rows = rows_of(table, filling)
    total = len(rows) * sum(map(len, cases.values()))
    with tqdm(total=total, unit=" results") as bar:
        measuring = Measuring(out, bar)
        results = measure_rows(table, filling, cases, weights, measuring)
    about = [protocol.SUMMARY, *results.about.values()]
    others = [name for label, name in results.names.items() if name != label]
    about += [f"rows filled by another system: {', '.join(others)}"] * bool(others)
    extra = tuple(rows[len(table.rows) :])
    papers = [name for name, own in filling.data.items() if own.of_the_paper]
    filled = fill_table(
        table, results.scores, results.notes, about, extra, paper_photos=papers
    )
    stem = out / f"table-{number}"
    made = _write(filled, results.scores, stem)
    made += pictures.draw(filled, results, weights, stem)
    return "\n".join([render.to_text(filled), str(measuring.seconds), *map(str, made)])


def _write(filled: Filled, scores: Mapping, stem: Path) -> list[Path]:
    """Writes the table's numbers; returns the files."""
    texts = {
        ".txt": render.to_text(filled),
        ".md": render.to_markdown(filled),
        ".csv": export.to_csv(filled),
        ".json": export.to_json(filled, scores),
    }
    for suffix, text in texts.items():
        files.write_text(stem.with_suffix(suffix), text)
    return [stem.with_suffix(suffix) for suffix in texts]
