"""Text that files and terminals can hold.

Names of files are bytes. One that is not UTF-8 reaches us with surrogates in it
(`os.fsdecode`), which no file or terminal in UTF-8 takes.
"""


def printable(text: str) -> str:
    """The text with escapes such as \\udce9 for what UTF-8 does not hold.

    Inside a string of JSON that is the escape of JSON: whoever reads it gets back the
    name as it was.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
