"""Image files, their metadata, masks and sizes."""
