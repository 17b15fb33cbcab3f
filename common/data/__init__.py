"""The way of the data: files, their order, reading, batches. Knows no benchmark."""
