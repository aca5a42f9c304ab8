"""Datasets: the rows of a backup as files of Parquet, written without a Milvus."""
