"""`python -m dear_jax` is the command `dear`."""

import sys

from dear_jax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
