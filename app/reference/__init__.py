"""/docs: the API as a page that is made here. The usual ones load their scripts from elsewhere."""
