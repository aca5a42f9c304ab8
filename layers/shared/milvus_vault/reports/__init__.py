"""Reports to read: one HTML file each, without anything from outside, made from what is already written as JSON."""
