"""Prepares photos and masks for training and evaluation: `python -m data_prep`.

sources.py and tfds_source.py list and read what was downloaded; kinds.py, splits.py
and, for masks, measuring.py say which file belongs where, plan.py which shards that
makes; records.py makes a record of a file, writing.py writes and checks one shard, and
prepare.py does all of it, in several processes (workers.py) and from where it was
stopped (workspace.py).
"""
