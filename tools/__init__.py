"""Programs for the people who work on Milvus Vault; nothing here is deployed."""
