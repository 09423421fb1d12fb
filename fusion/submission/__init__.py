"""A run as a job of a Ray cluster: what travels there, who is asked, what comes back."""
