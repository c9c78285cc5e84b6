"""HTTP APIs: what is kept of them, and how it may change."""
