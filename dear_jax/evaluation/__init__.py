"""Measuring systems by the published protocol.

`protocol` says which damaged photos are restored (`protocol_v2` old photographs,
`protocol_sr` enlargement alone), `evaluate` restores and scores them in batches,
`score_cache` keeps scores and pictures, `stats` says how sure a mean is. `report` is
run_eval.py --scale; `tables`, `table_run` and `table_render` are --table. `sheets` and
`figures` are pictures, `plots` and `run_plots` curves, `examples` draws training data.
"""
