"""Where the time of DEAR's training step goes; for `train_step.py --parts`.

Each part is compiled and timed alone, forward and backward, on values of the shapes
that it has in the step. The sum need not be the whole: in the step parts are fused.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from measuring import MIB
from roofline import costs, seconds_of, table
from steps import Case, Step

from dear_jax.models.dear.attention import unmask_attention
from dear_jax.models.layers import cast
from dear_jax.models.registry import build, init_variables
from dear_jax.training.flops import count_flops
from dear_jax.training.objectives import make_objective
from dear_jax.training.optimizer import make_optimizer

COLUMNS = ("part", "ms", "of the step", "GFLOP", "GFLOP/s", "XLA's MiB moved")


def measure_parts(case: Case, budget: float, say: Callable[[Any], None]) -> str:
    """Times the parts of one step; a section in Markdown.

    Args:
      case: of a "dear" model.
      budget: seconds for each part.
      say: told about progress.
    """
    step = Step(case._replace(steps=1))
    whole = seconds_of(step, budget)
    rows = [_line("step", whole, whole, step.flops, step.costs.bytes)]
    say(f"| {' | '.join(rows[-1])} |")
    for name, (function, arguments) in _parts(step).items():
        compiled = jax.jit(function).lower(*arguments).compile()
        seconds = seconds_of(lambda f=compiled, a=arguments: f(*a), budget)
        flops = count_flops(function, *arguments)
        rows.append(_line(name, seconds, whole, flops, costs(compiled).bytes))
        say(f"| {' | '.join(rows[-1])} |")
    title = f"## Parts of the step: {case.model}, {case.dtype}, batch {case.batch}"
    notes = __doc__.split("\n\n", 1)[1].strip()
    return "\n\n".join([title, table(COLUMNS, rows), notes])


def _parts(step: Step) -> dict[str, tuple[Callable, tuple]]:
    """Name -> function and its arguments."""
    config, batch = step.config, step.batch
    model, dtype = build(config.model.to_dict()), step.case.dtype
    variables = init_variables(model, config.seed)
    objective = make_objective(config.objective)
    centred = 2 * batch["image"] - 1
    inside = jnp.ones_like(batch["mask"])

    def loss(params: Any) -> jax.Array:
        return objective.loss(model, {"params": cast(params, dtype)}, batch)[0]

    def networks(params: Any) -> Any:
        base = centred if model.residual == "fill" else None
        parts = cast({"params": params}, dtype), centred, batch["mask"], inside, base
        return model.apply(*parts, method="embed")

    features = jax.jit(
        lambda v: model.apply(v, batch["image"], batch["mask"], method="encode")
    )(cast(variables, dtype))
    embedding = features.embedding
    # What decoding reads, without the rest.
    maps = features.replace(
        embedding=None, attended=None, importance=None, reconstruction=None
    )

    def attention(embedding: jax.Array) -> jax.Array:
        chosen = model.attention_keys, model.attention_pool, model.attention_chunk
        return unmask_attention(embedding, batch["mask"], None, *chosen)

    def decoder(params: Any, maps: Any) -> jax.Array:
        queries = maps, batch["coordinates"], batch["cell"]
        return model.apply(cast({"params": params}, dtype), *queries, method="decode")

    params, tx = variables["params"], make_optimizer(config.optimizer, 1)

    def optimizer(params: Any, state: Any, ema: Any) -> Any:
        updates, state = tx.update(params, state, params)
        params = optax.apply_updates(params, updates)
        ema = jax.tree.map(lambda e, p: 0.99 * e + 0.01 * p, ema, params)
        return params, state, ema, optax.tree.norm(params)

    parts = {
        "loss, forward only": (loss, (params,)),
        "loss and gradient": (jax.value_and_grad(loss), (params,)),
        "towers, filters, upsamplers": (_gradient(networks), (params,)),
    }
    if model.attention:
        parts["attention"] = (_gradient(attention), (embedding,))
    parts["decoder of the queries"] = (_gradient(decoder), (params, maps))
    parts["optimizer, average"] = (optimizer, (params, tx.init(params), params))
    return parts


def _gradient(function: Callable) -> Callable:
    """Forward and backward by all arguments, to a sum that needs every value."""

    def total(*arguments: Any) -> jax.Array:
        leaves = jax.tree.leaves(function(*arguments))
        return sum(jnp.sum(leaf.astype(jnp.float32) ** 2) for leaf in leaves)

    def both(*arguments: Any) -> Any:
        return jax.value_and_grad(total, argnums=tuple(range(len(arguments))))(
            *arguments
        )

    return both


def _line(name: str, seconds: float, whole: float, flops: float, moved: float):
    return [
        name,
        f"{1e3 * seconds:.4g}",
        f"{seconds / whole:.0%}",
        f"{flops / 1e9:.4g}",
        f"{flops / seconds / 1e9:.4g}",
        f"{moved / MIB:.0f}",
    ]
