"""The model, one file a part, in the order the data takes.

fill -> encoder | lite -> detail (filtering) -> attention -> importance -> decoder;
`dear` assembles them.
"""
