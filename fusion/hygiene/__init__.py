"""What a response must not carry into training data: other models' names, leaked markup, secrets, personal data."""
