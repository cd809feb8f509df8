"""`dear page`: the page that restores photos, as files for any web host."""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

DESCRIPTION = """\
Writes the page of `dear serve` as files that need no server of ours: whatever serves
a folder over HTTP will do, and the photo never leaves the visitor's browser, which
runs the model itself. After the first visit it works without a network too.

To try it:
  dear page site && python -m http.server --directory site 8000
  and open http://localhost:8000"""
EPILOG = """\
A browser gives the model all of the processor's cores only where the host sends two
headers with every file:
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
Without them it takes one core, and the page says so. From the second visit on the
page sets them itself, where the browser lets it."""


def add_parser(commands) -> None:
    """Adds the command to those of `dear`."""
    parser = commands.add_parser(
        "page",
        help="write the page as files that restore photos wholly in the browser",
        description=DESCRIPTION,
        epilog=EPILOG,
    )
    parser.set_defaults(prepare=_prepare, parser=parser)
    add = parser.add_argument
    add("folder", metavar="FOLDER", type=Path, help="where to write it; may exist")
    add(
        "--model",
        default="dear-lite",
        metavar="NAME|FILE|WORKDIR",
        help="dear-lite, or weights that were trained on from it (default dear-lite)",
    )


def _prepare(flags: argparse.Namespace) -> Callable[[], int]:
    from dear_jax.inference.loading import find

    return partial(_write, flags.folder, find(flags.model))


def _write(folder: Path, found) -> int:
    """Writes the site; returns the exit status."""
    from dear_jax.inference.texture import texture_path
    from dear_jax.site.writing import write_site
    from dear_jax.weights import read_weights

    texture = texture_path(found.file) if found.file else None
    texture = read_weights(texture) if texture and texture.is_file() else None
    files = write_site(folder, found.weights, texture)
    size = sum(path.stat().st_size for path in files)
    print(f"{folder}: {len(files)} files, {size / 1e6:.1f} MB; open it over HTTP")
    return 0
