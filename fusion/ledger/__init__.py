"""Looking at what runs made: rows, one prompt's whole story, and what differs between two runs."""
