"""From a finished run to a published data set: Parquet files, a card, and a folder or the hub to put them in."""
