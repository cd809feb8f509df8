"""Photos and masks, from files to numpy batches, and from those to examples on devices.

images.py finds image files in folders and, with shards.py and manifest.py, in prepared
sets; photos.py, masks.py and masks_by_bin.py are what is in them. strokes.py and
lama_masks.py draw masks, choices.py all else that is left to chance. degradations.py
and damage.py, with film_damage.py, print_damage.py and damage_shapes.py, make photos
old. examples.py turns one photo into one example and pipeline.py turns a configuration,
which settings.py checks, into batches, sides.py those of several sides; lasting.py
keeps them coming. render.py makes the examples of
batches that are only choices, and resident.py holds the photos for it.
"""
