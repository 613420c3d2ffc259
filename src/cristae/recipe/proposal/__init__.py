"""What a first recipe for given data, a machine and some minutes looks like: small rules, each with its reason."""
