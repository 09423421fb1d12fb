"""`fusion doctor`: what of this machine and its cluster is fit for a run, and what to type where it is not."""
