"""Code signing: whom an account trusts to have made a package."""
