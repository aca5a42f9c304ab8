"""What only a person can do: what each proves. docs/aws-checklist.yaml has how."""

from milvus_vault.acceptance.items import by_hand

by_hand(9, "copies_in_parts", "Objects in parts, or encrypted by KMS, are found again by a second execution.")
by_hand(
    15, "schedule_keeps_local_time", "A schedule fires at the local time of its time zone, and when it was said to."
)
by_hand(15, "dead_letters", "What Scheduler could not start comes into the queue, and sets off its alarm.")
by_hand(16, "email_arrives", "Somebody is told by e-mail, and the dashboard shows what happened.")
by_hand(17, "calls_are_denied_by_name", "Who may not call the API is told so by name.")
by_hand(17, "links_expire", "The link of a report works for an hour, and then no more.")
by_hand(18, "export_elsewhere", "Exports go to another bucket, and large datasets have checksums.")
by_hand(18, "old_uploads_are_swept", "The daily prune runs by itself, and aborts uploads that nobody finished.")
by_hand(18, "stopped_drill_cleans_up", "A drill that is stopped leaves no scratch database behind after the next one.")
by_hand(19, "timeouts_by_name", "A function that runs into its time is retried by the name that AWS gives to that.")
by_hand(20, "tls_to_milvus", "Milvus is reached by TLS, in both modes, and through a load balancer that ends it.")
by_hand(
    21, "large_collection_under_writes", "A backup after the insertion of millions of rows takes no longer than it may."
)
by_hand(22, "added_vector_field", "Rows that are older than a vector field come back with null in it.")
by_hand(23, "foreign_machine_has_no_role", "A state machine of another name cannot use the stack's roles.")
by_hand(23, "marker_needs_a_condition", "The bucket's policy refuses a marker that is written without a condition.")
by_hand(23, "queue_refuses_plain_http", "The queue of dead letters refuses requests without TLS.")
by_hand(24, "locks", "What is locked cannot be deleted, by anybody, before its time.")
by_hand(25, "copies_to_another_account", "A backup is copied to another Region and account, and restored there.")
by_hand(26, "bill_of_the_day", "The bill is what was counted.")
