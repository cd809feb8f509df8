"""Measuring systems by the published protocol.

`protocol` says which damaged photos are restored, `batches` brings them in batches,
`evaluate` restores and scores them, `journal` and `gallery` keep scores and pictures,
`measuring` does that for one system after the other. `per_photo`, `statistics` and
`estimates` say how sure a mean is. `by_scale` and `report` are run_eval.py --scale;
`table_*` are --table, the others are pictures.
"""
