"""Pictures of results: `comparison` and `stages` of photos, `curves`, plain `sheet`."""
