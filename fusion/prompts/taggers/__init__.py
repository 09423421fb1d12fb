"""Which domain a prompt belongs to where its data set does not say: one file a way of telling."""
