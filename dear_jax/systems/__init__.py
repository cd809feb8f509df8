"""Whole systems: damaged photos in, photos out, whatever model does the work.

`restorer` is what they share; `query`, `upscaler`, `inpainter` give a model of each
role photos as it likes them; `two_stage` puts two together; `catalogue` finds them
and their weights by name; `devices` deals batches out.
"""
