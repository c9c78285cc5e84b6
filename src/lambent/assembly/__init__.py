"""Where rooms meet: adapters that are nobody's concept. Imported by `app.py` alone."""
