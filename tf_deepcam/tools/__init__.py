"""Commands beside training and inference: to download, make, split, convert and summarize data sets, and to export."""
