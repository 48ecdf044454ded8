"""What is measured: each benchmark has its rival or its limit in the same run, so that a slow machine slows both."""
