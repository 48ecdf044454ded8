"""Association: images that nobody has named, grouped into persons by what they look like."""
