"""The paper's tables, filled by what is here: run_eval.py --table."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from dear_jax import files
from dear_jax.errors import InputError
from dear_jax.evaluation import protocol
from dear_jax.evaluation import table_files as export
from dear_jax.evaluation import table_pictures as pictures
from dear_jax.evaluation import table_render as render
from dear_jax.evaluation.measuring import Measuring
from dear_jax.evaluation.printable import printable
from dear_jax.evaluation.table_filled import Filled, fill_table
from dear_jax.evaluation.table_paper import Table, paper_tables
from dear_jax.evaluation.table_rows import measure_rows, open_cases, rows_of
from dear_jax.evaluation.table_setup import PhotoSet, Setup, read_setup


def measure_table(
    number: int,
    setup: str | Path,
    data: str | None,
    masks: str | None,
    weights: Path,
    limit: int | None,
    out: Path,
) -> Iterator[str]:
    """Measures a table and writes it as text, Markdown, CSV, JSON and pictures.

    Numbers are written before anything is drawn.

    Args:
      number: of the table, 1 to 6.
      setup: file that says what fills it, see `setup`.
      data, masks: photos for its first set in place of the setup's; may be None.
      weights: folder in which rows find theirs.
      limit: only the first photos of each set.
      out: folder of results; gets table-N.txt and so on.

    Yields:
      What to tell, when it is so: the table as text, where the time went, and each
      file that was written.

    Raises:
      InputError: for what cannot be opened, before any work where possible.
    """
    table, filling = _chosen(number, setup, data, masks)
    cases = open_cases(table, filling.data, limit)
    rows = rows_of(table, filling)
    total = len(rows) * sum(map(len, cases.values()))
    with tqdm(total=total, unit=" results") as bar:
        measuring = Measuring(out, bar)
        results = measure_rows(table, filling, cases, weights, measuring)
    about = [protocol.V1.summary, *results.about.values()]
    others = [name for label, name in results.names.items() if name != label]
    about += [f"rows filled by another system: {', '.join(others)}"] * bool(others)
    extra = tuple(rows[len(table.rows) :])
    papers = results.paper_photos
    filled = fill_table(
        table, results.scores, results.notes, about, extra, paper_photos=papers
    )
    stem = out / f"table-{number}"
    text = render.to_text(filled)
    made = _write(filled, text, results.scores, stem)
    yield text
    yield str(measuring.seconds) if results.scores else "nothing was measured"
    yield from (printable(str(path)) for path in made)
    for path in pictures.draw(filled, results, weights, stem):
        yield printable(str(path))


def _chosen(
    number: int, setup: str | Path, data: str | None, masks: str | None
) -> tuple[Table, Setup]:
    """A table and what fills it."""
    if number not in paper_tables():
        raise InputError(f"--table {number}: the paper has tables 1 to 6")
    table, filling = paper_tables()[number], read_setup(setup, number)
    if masks not in (None, "none") and not table.masked:
        raise InputError(
            f"--masks {masks}: in table {number} nothing is missing; leave it out"
        )
    if data:
        own = PhotoSet(data, masks or "bundled")
        filling = Setup({table.datasets[0]: own}, filling.systems, filling.extra)
    return table, filling


def _write(filled: Filled, text: str, scores: Mapping, stem: Path) -> list[Path]:
    """Writes the table's numbers, `text` as it is; returns the files."""
    texts = {
        ".txt": text,
        ".md": render.to_markdown(filled),
        ".csv": export.to_csv(filled),
    }
    for suffix, content in texts.items():
        files.write_text(stem.with_suffix(suffix), content)
    images = stem.with_suffix(".json")
    with files.replacing(images) as partial, partial.open("w", encoding="utf-8") as to:
        to.writelines(export.json_lines(filled, scores))
    return [*(stem.with_suffix(suffix) for suffix in texts), images]
