"""Commands beside training and inference: data sets fetched, made, split, converted, summarized; grids of runs."""
