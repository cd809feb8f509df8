"""A configuration for `run_train.py` that tests start as a process of its own.

Seconds of training on one device, many checkpoints: python run_train.py
--config=tests/tiny_run.py
"""

import ml_collections

from tests.tiny import tiny_config


def get_config() -> ml_collections.ConfigDict:
    """Returns the configuration."""
    changes = {"checkpoint.every": 20, "log.every": 10}
    return tiny_config(steps=400, **changes)
