"""What is deleted and when: policies, the deletion of backups, and the sweeping of what runs left behind."""
