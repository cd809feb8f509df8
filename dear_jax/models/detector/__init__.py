"""The damage detector: its network, its input, and what both are made of."""
