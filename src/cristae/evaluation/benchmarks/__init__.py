"""What the tables of a benchmark say: means with intervals, pairs, ranks, costs and plain sentences."""
