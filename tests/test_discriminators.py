"""The discriminators: sizes, spectral norm, batch normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dear_jax.training.discriminators import PatchGAN, SpectralPatchGAN


def images(size=(32, 40), batch=2, seed=0):
    return jax.random.uniform(jax.random.key(seed), (batch, *size, 3))


def shapes(module, size):
    image = jnp.zeros((1, *size, 3))
    return jax.eval_shape(
        lambda key: module.init_with_output(key, image), jax.random.key(0)
    )


def unit(vector):
    return vector / max(np.linalg.norm(vector), 1e-12)


def as_matrix(kernel):
    return np.asarray(kernel).transpose(3, 2, 0, 1).reshape(kernel.shape[-1], -1)


@pytest.mark.parametrize(
    ("module", "parameters", "logits", "sides", "channels"),
    [
        (SpectralPatchGAN(), 2_763_776, 30, [128, 64, 32, 31], [64, 128, 256, 512]),
        (
            PatchGAN(),
            6_962_369,
            19,
            [129, 65, 33, 17, 18],
            [64, 128, 256, 512, 512],
        ),
    ],
)
def test_sizes_are_those_of_the_released_discriminators(
    module, parameters, logits, sides, channels
):
    (judged, maps), variables = shapes(module, (256, 256))
    leaves = jax.tree.leaves(variables["params"])
    assert sum(int(np.prod(leaf.shape)) for leaf in leaves) == parameters
    assert judged.shape == (1, logits, logits, 1)
    assert [m.shape for m in maps] == [
        (1, s, s, c) for s, c in zip(sides, channels, strict=True)
    ]


def test_the_smallest_image_of_the_spectral_discriminator_has_one_patch():
    module = SpectralPatchGAN(2)
    (logits, _), _ = shapes(module, (module.least_side, module.least_side))
    assert logits.shape == (1, 1, 1, 1)
    (logits, _), _ = shapes(module, (module.least_side - 1, module.least_side))
    assert logits.size == 0


def test_one_training_pass_is_one_power_iteration():
    module = SpectralPatchGAN(4)
    variables = module.init(jax.random.key(0), images())
    _, after = module.apply(variables, images(), train=True, mutable=["spectral"])
    for name, layer in variables["params"].items():
        matrix = as_matrix(layer["kernel"])
        v = unit(matrix.T @ np.asarray(variables["spectral"][name]["u"]))
        u = unit(matrix @ v)
        np.testing.assert_allclose(after["spectral"][name]["v"], v, atol=1e-6)
        np.testing.assert_allclose(after["spectral"][name]["u"], u, atol=1e-6)


def test_logits_are_those_of_kernels_divided_by_sigma():
    module = SpectralPatchGAN(4)
    variables = module.init(jax.random.key(0), images())
    (_, maps), after = module.apply(
        variables, images(), train=True, mutable=["spectral"]
    )
    kernel = variables["params"]["conv1"]["kernel"]
    u, v = (np.asarray(after["spectral"]["conv1"][k]) for k in "uv")
    expected = jax.lax.conv_general_dilated(
        images(),
        kernel / (u @ as_matrix(kernel) @ v),
        (2, 2),
        ((1, 1), (1, 1)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    expected = np.where(expected > 0, expected, 0.2 * expected)
    np.testing.assert_allclose(maps[0], expected, atol=1e-5)


def test_sigma_becomes_the_largest_singular_value():
    module = SpectralPatchGAN(4)
    variables = module.init(jax.random.key(0), images())
    params, state = variables["params"], {"spectral": variables["spectral"]}
    renew = jax.jit(
        lambda state: module.apply(
            {"params": params, **state}, images(), train=True, mutable=["spectral"]
        )[1]
    )
    for _ in range(200):
        state = renew(state)
    for name, layer in params.items():
        matrix, vectors = as_matrix(layer["kernel"]), state["spectral"][name]
        sigma = np.asarray(vectors["u"]) @ matrix @ np.asarray(vectors["v"])
        largest = np.linalg.svd(matrix, compute_uv=False)[0]
        np.testing.assert_allclose(largest / sigma, 1, atol=1e-3)


def test_a_kernel_scaled_by_a_factor_judges_alike_and_gets_no_gradient_along_itself():
    module = SpectralPatchGAN(4)
    variables = module.init(jax.random.key(0), images())
    state = {"spectral": variables["spectral"]}

    def total(params):
        return module.apply({"params": params, **state}, images())[0].sum()

    value, gradient = jax.value_and_grad(total)(variables["params"])
    scaled = jax.tree.map(lambda k: 7 * k, variables["params"])
    np.testing.assert_allclose(total(scaled), value, rtol=1e-4)
    for name, layer in variables["params"].items():
        along = np.sum(layer["kernel"] * gradient[name]["kernel"])
        length = np.linalg.norm(gradient[name]["kernel"])
        assert abs(along) < 1e-4 * length * np.linalg.norm(layer["kernel"])
        assert length > 0


def test_evaluation_changes_no_state():
    for module in (SpectralPatchGAN(4), PatchGAN(4)):
        variables = module.init(jax.random.key(0), images())
        state = [name for name in variables if name != "params"]
        _, after = module.apply(variables, images(), mutable=state)
        same = jax.tree.map(
            lambda a, b: bool((a == b).all()), after, {k: variables[k] for k in state}
        )
        assert all(jax.tree.leaves(same)) and jax.tree.leaves(same)


def test_training_of_the_patch_discriminator_normalises_by_the_batch():
    module = PatchGAN(4)
    variables = module.init(jax.random.key(0), images())
    (_, maps), after = module.apply(
        variables, images(), train=True, mutable=["batch_stats"]
    )
    before_slope = np.where(maps[1] > 0, maps[1], maps[1] / 0.2)
    np.testing.assert_allclose(before_slope.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(before_slope.std((0, 1, 2)), 1, atol=1e-2)
    moved = after["batch_stats"]["norm1"]["mean"]
    assert np.abs(moved - variables["batch_stats"]["norm1"]["mean"]).min() > 0
