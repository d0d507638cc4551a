"""Packing a source into shards.

    pack            one call: which shards are missing, one shard after another
    arguments       checks of the arguments of `pack`
    rows            pictures of the source → compressed rows, in batches
    columns         the types of the other columns, and the check that values are kept exactly
    shard_writer    rows → one Parquet file
    existing        whether a call may go on with the shards that are there
    append          which items of a source that has grown are new
    report          what a call has done
"""
