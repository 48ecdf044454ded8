"""Work behind the requests: what users see of it, and the worker that does it."""
