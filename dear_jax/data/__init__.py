"""Photos and masks, from files to numpy batches, and from those to examples on devices.

sources.py finds photos and masks in folders and, with shards.py and manifest.py, in
prepared sets. masks.py has the masks of training, drawn_masks.py those drawn by rule,
mask_bins.py those of tests. degradations.py and damage.py, with damage_film.py,
damage_print.py and damage_shapes.py, make photos old. examples.py turns one photo into
one example and pipeline.py turns a configuration, which settings.py checks, into
batches, sides.py those of several sides; lasting.py restarts reading processes that
died. resident.py makes examples on the devices, of photos in their memory.
"""
