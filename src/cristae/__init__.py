"""From electron-microscopy volumes to maps of cellular structure that you can defend."""
