"""The spawner: C sources, and what compiles them."""
