"""The copy machine: plan what is missing, copy it in batches, verify what is there.

Backup and restore share it. It knows buckets, keys, sizes and ETags, and nothing of Milvus. Its working
files lie in the run's workspace (`working_files.py` lists them); all work resumes from them.
"""
