"""The networks: DEAR and those that it is compared with."""
