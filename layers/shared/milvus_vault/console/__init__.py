"""A page in the browser of the person at this machine: what there is, what runs, and the common actions."""
