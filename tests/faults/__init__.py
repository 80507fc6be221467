"""Real processes, killed, stopped and starved; what became of every event is read from their ledgers."""
