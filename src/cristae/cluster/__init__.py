"""Independent long jobs, one after the other in this process or side by side on the workers of Dask.

Whoever has jobs calls `run_jobs`; nothing else of this room, and nothing of Dask, is imported before it is needed.
"""
