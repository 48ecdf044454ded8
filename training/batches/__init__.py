"""What a step trains on: which pairs form a batch, and the pictures that a second data set adds to it."""
