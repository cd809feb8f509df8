"""Photos and masks, from files to numpy batches.

images.py finds image files in folders and, with shards.py and manifest.py, in prepared
sets; photos.py, masks.py and masks_by_bin.py are what is in them. strokes.py and
lama_masks.py draw masks, examples.py turns one photo into one example and pipeline.py
turns a configuration into batches.
"""
