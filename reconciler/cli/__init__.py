"""One module a command group; `main.py` puts them together, `app.py` is what they share."""
