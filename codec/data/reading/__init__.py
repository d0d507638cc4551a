"""Reading a dataset.

    dataset      `codec.Dataset`: rows by number, or all in order
    opening      finds the files: folders, Hive partitions, patterns, URLs
    agreement    whether the files belong together, and their common columns
    shards       one Parquet file, with random access to its pictures
    cells        rows of the other columns, read in parts
    cache        what is kept of them, limited in bytes
    files        bytes of local files and of URLs
    batches      tensors for training
    checking     `codec.data.verify`
"""
