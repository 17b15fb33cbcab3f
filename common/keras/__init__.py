"""What we know of Keras: its files, its passes compiled, their work and their precision."""
