"""The embedded stack: a real Milvus, an emulator of AWS, and the built template deployed to it."""
