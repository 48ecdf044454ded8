"""Model versions: registering a checkpoint, encoding the gallery for it, activating it."""
