"""The discriminators: sizes, spectral norm, batch normalisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close

from dear_jax.models.discriminators import PatchGAN, SpectralPatchGAN


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


class Judge:
    """A small discriminator, compiled once."""

    def __init__(self, module):
        # This kind of key compiles in a tenth of the time.
        key = jax.random.key(0, impl="rbg")
        self.state = jax.jit(module.init)(key, images())
        self.params = self.state.pop("params")
        self.judge = jax.jit(
            lambda params, state: module.apply({"params": params, **state}, images())
        )
        self.train = jax.jit(
            lambda params, state: module.apply(
                {"params": params, **state}, images(), train=True, mutable=list(state)
            )
        )


@pytest.fixture(scope="module")
def spectral():
    return Judge(SpectralPatchGAN(4))


@pytest.fixture(scope="module")
def patch():
    return Judge(PatchGAN(4))


def test_spectral_kernels_are_small_and_their_vectors_of_length_one(spectral):
    kernels = [np.ravel(leaf) for leaf in jax.tree.leaves(spectral.params)]
    np.testing.assert_allclose(np.concatenate(kernels).std(), 0.02, rtol=0.05)
    for vector in jax.tree.leaves(spectral.state):
        np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-5)


def test_one_training_pass_is_one_power_iteration(spectral):
    _, after = spectral.train(spectral.params, spectral.state)
    for name, layer in spectral.params.items():
        matrix = as_matrix(layer["kernel"])
        v = unit(matrix.T @ np.asarray(spectral.state["spectral"][name]["u"]))
        u = unit(matrix @ v)
        assert_close(after["spectral"][name]["v"], v, layers=2)
        assert_close(after["spectral"][name]["u"], u, layers=4)


def test_activations_are_those_of_kernels_divided_by_sigma(spectral):
    (_, maps), after = spectral.train(spectral.params, spectral.state)
    kernel = np.asarray(spectral.params["conv1"]["kernel"])
    u, v = (np.asarray(after["spectral"]["conv1"][k]) for k in "uv")
    window = np.asarray(images())[1, 9:13, 5:9]  # of the activation at (5, 3)
    response = np.einsum("yxc,yxcd->d", window, kernel) / (u @ as_matrix(kernel) @ v)
    expected = np.where(response > 0, response, 0.2 * response)
    np.testing.assert_allclose(maps[0][1, 5, 3], expected, atol=1e-5)


def test_sigma_becomes_the_largest_singular_value(spectral):
    state = spectral.state
    for _ in range(200):
        _, state = spectral.train(spectral.params, state)
    for name, layer in spectral.params.items():
        matrix, vectors = as_matrix(layer["kernel"]), state["spectral"][name]
        sigma = np.asarray(vectors["u"]) @ matrix @ np.asarray(vectors["v"])
        largest = np.linalg.svd(matrix, compute_uv=False)[0]
        assert 0.98 * largest < sigma < 1.0001 * largest


def test_the_size_of_a_kernel_changes_no_logit_and_gets_no_gradient(spectral):
    params, state = spectral.params, spectral.state
    logits, _ = spectral.judge(params, state)
    scaled, _ = spectral.judge(jax.tree.map(lambda k: 7 * k, params), state)
    np.testing.assert_allclose(scaled, logits, rtol=1e-3)
    gradient = jax.jit(jax.grad(lambda p: spectral.judge(p, state)[0].sum()))(params)
    for name in params:
        kernel, slope = (np.asarray(p[name]["kernel"]) for p in (params, gradient))
        lengths = np.linalg.norm(kernel) * np.linalg.norm(slope)
        assert lengths > 0 and abs(np.sum(kernel * slope)) < 1e-4 * lengths


def test_training_of_the_patch_discriminator_normalises_by_the_batch(patch):
    (_, maps), after = patch.train(patch.params, patch.state)
    before_slope = np.where(maps[1] > 0, maps[1], maps[1] / 0.2)
    np.testing.assert_allclose(before_slope.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(before_slope.std((0, 1, 2)), 1, atol=1e-2)
    before, after = (s["batch_stats"]["norm1"]["mean"] for s in (patch.state, after))
    assert np.abs(after - before).min() > 0


def test_evaluation_of_the_patch_discriminator_judges_each_image_alone(patch):
    logits, _ = patch.judge(patch.params, patch.state)
    alone, _ = PatchGAN(4).apply({"params": patch.params, **patch.state}, images()[:1])
    np.testing.assert_allclose(alone, logits[:1], atol=1e-5)
