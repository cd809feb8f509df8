"""Whole systems: a damaged photo in, a photo out, whatever model does the work.

`restorer` is what they share; `query`, `upscaler`, `inpainter` give a model of each
role a photo as it likes it; `two_stage` puts two together; `catalogue` finds them
and their weights by name.
"""
