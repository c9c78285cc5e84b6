"""Names, limits, errors and clocks that every room shares; imports nothing of ours."""
