"""The paper's tables, its numbers beside ours: run_eval.py --table.

`paper` has the tables as printed, `setup` says what fills them, `rows` measures,
`filled` puts paper and ours together, `layout`, `render` and `export` write it down,
`pictures` draws what goes with it; `measure` does it all.
"""
