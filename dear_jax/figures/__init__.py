"""Pictures of results: `comparison` sheets of photos, `curves`, plain `sheet`s."""
