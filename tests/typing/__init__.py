"""What type checkers must accept, and what they must refuse: read by them, never run."""
