"""The page at `/`: plain HTML, CSS and ES modules in `static`, served by `app.main`."""
