"""Collections: named sets of images that can be searched on their own."""
