"""What members of an ensemble do together, as functions of counts that add up over blocks."""
