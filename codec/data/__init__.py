"""Compressed datasets: sharded Parquet files that other tools read, and batches for training out of them."""
