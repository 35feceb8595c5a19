"""Charts drawn on the server as small SVG, pure functions of figures. They carry no style, no script and no text to measure.

Drawn into a fixed box that the page stretches, strokes keeping their width; labels are HTML beside the picture, so that they
stay legible at every width. Colours are classes of `static/style.css`. Floats are fine here: nothing drawn is decided by.
"""
