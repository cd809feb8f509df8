"""The page without a server: files that restore photos wholly in the browser."""
