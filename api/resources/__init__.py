"""A class for each path, of a few lines each."""
