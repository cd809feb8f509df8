"""LTE's and LTE+'s official tensors: an EDSR trunk, two wave maps, phases, an MLP.

LTE's MLP is called `imnet` and is dense; LTE+'s has no name of its own and consists
of 1x1 convolutions. The order of the frequency channels is left as it is: see
`LTE.layout`.
"""

from dear_jax.convert import edsr, liif
from dear_jax.convert.rules import (
    Mapping,
    State,
    conv,
    dense,
    layer,
    pointwise,
    require,
)


def mapping(fields: dict) -> Mapping:
    """See `rules.Mapping`; fields are those of `LTE`."""
    rules = edsr.trunk_mapping(fields, "encoder.", "encoder")
    rules |= layer("coef", "coef", conv)
    rules |= layer("freq", "freq", conv)
    rules |= layer("phase", "phase", dense, bias=False)
    plus = fields["layout"] == "halves"
    prefix, layout = ("", pointwise) if plus else ("imnet.", dense)
    for i in range(fields["layers"] + 1):
        path = "output" if i == fields["layers"] else f"dense_{i}"
        # The ReLUs have the odd indices.
        rules |= layer(f"{prefix}layers.{2 * i}", path, layout)
    return rules


def fields_from(state: State) -> dict:
    """Reads the widths, depths and layout; residual_scale leaves no trace.

    Raises:
      InputError: if the trunk, the amplitudes or the MLP are missing.
    """
    fields = edsr.trunk_fields_from(state, "encoder.")
    plus = "layers.0.weight" in state
    prefix = "layers." if plus else "imnet.layers."
    require(state, "LTE", "coef.weight", f"{prefix}0.weight")
    hidden = state["coef.weight"].shape[0]
    first = state[f"{prefix}0.weight"].shape[0]
    widths = (first, *liif.later_widths(state, prefix))
    return {
        **fields,
        "hidden": hidden,
        "layers": len(widths),
        "widths": widths if set(widths) - {hidden} else (),
        "layout": "halves" if plus else "interleaved",
    }
