"""Which kind of reference file it is; the files are described beside them."""

import re
from collections.abc import Callable
from pathlib import Path

from parity_lpips import lpips_file
from parity_models import (
    edsr_file,
    elan_file,
    fast_query_file,
    lama_file,
    misf_file,
    published_file,
    query_file,
)
from parity_operators import metrics_file, operator_file, resize_file
from parity_outcome import Arrays, Outcome

from dear_jax.errors import InputError


def compare(meta: dict, arrays: Arrays, weights: Path | None) -> Outcome:
    """Compares what a file holds with what we compute.

    Raises:
      Skipped: if it needs weights that were not given.
      InputError: for an unknown kind, or parameters that do not fit.
    """
    try:
        return _kind(meta, arrays)(meta, arrays, weights)
    except (KeyError, AttributeError) as error:
        raise InputError(f"it lacks or its meta lacks {error}") from None


def _kind(meta: dict, arrays: Arrays) -> Callable[..., Outcome]:
    if "builder" in meta:
        return edsr_file
    if "spec" in meta:
        return fast_query_file if meta["spec"]["name"] == "lte-fast" else query_file
    if "m_elan" in (meta.get("args") or {}):
        return elan_file
    for start, function in (("MISF", misf_file), ("LaMa", lama_file)):
        if meta.get("model", "").startswith(start):
            return function
    if meta.get("measure") == "LPIPS":
        return lpips_file
    if "op" in meta:
        return operator_file
    if "names" in meta and "values" in meta:
        return metrics_file
    if "cases" in meta:
        return resize_file
    if not meta and arrays and all(re.search("/(lr|sr)$", key) for key in arrays):
        return published_file
    raise InputError("an unknown kind of reference file")
