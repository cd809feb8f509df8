"""States on disk, so that no fault costs more than the steps since the last."""
