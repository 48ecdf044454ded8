"""How long images are kept, by collection and camera."""
