"""HTTP front doors of functions: a request becomes an event, and what the function returns becomes a response."""
