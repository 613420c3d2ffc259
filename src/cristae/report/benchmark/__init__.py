"""The page of a benchmark, made of the tables of its folder and of the predictions that it kept."""
