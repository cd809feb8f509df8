"""Whole systems: damaged photos in, photos out, whatever model does the work.

`restorer` is what they share; `query` gives photos to models that answer anywhere, by
way of `dear` (`plan`, `tiles`, `encoding`, `attending`, `rendering`) or `pointwise`;
`upscaler` and `inpainter` those of the other roles; `two_stage` puts two together;
`catalogue` finds them and their weights by name; `devices` deals batches out.
"""
