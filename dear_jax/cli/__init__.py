"""The command `dear`."""
