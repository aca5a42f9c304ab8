"""A backup as it lies in S3: where each part is, how it is written, how it is read and checked."""
