"""DEAR, a file for each equation of the paper, and its small variant."""
