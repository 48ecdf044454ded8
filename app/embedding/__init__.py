"""The encoder in production: one worker thread behind a micro-batching queue."""
