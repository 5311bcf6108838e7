"""AWS as such: targets, errors, lists, prices and instance types; imports nothing of the domain."""
