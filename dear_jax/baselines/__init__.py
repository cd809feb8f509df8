"""The systems that DEAR is compared with, exact to their authors' code."""
