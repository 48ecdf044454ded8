"""Pictures of what was trained: of any run, and of what one method alone has."""
