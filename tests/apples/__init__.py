"""One good connector, and many that are wrong in one way each: what the conformance kit must catch."""
