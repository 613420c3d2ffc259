"""How sure a score is, and whether two scores differ.

A score is a function of sums over independent units. `units` is (n, k) float64, one row for each unit (a slab of
slices, a volume, an animal, a trained instance); a statistic maps sums (..., k) to values (...). A pooled F1 is the
statistic `f1` of rows (TP, FP, FN); a mean over slices is the statistic `mean` of rows (value or 0, 1 if defined).
"""
