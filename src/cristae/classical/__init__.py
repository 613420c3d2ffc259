"""The random forest on filter responses: learns from few labels in minutes, without a GPU.

`config` is light; the other files are imported where they are used, since they bring numba and scikit-learn.
"""
