"""Speed, measured: `make bench`. Each row has our figure, this machine's limit measured in the same run, the ratio."""
