"""A photo from file to file: what `dear restore` and the page do to it."""
