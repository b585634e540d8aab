"""What one operation on a mount costs, counted: round trips, requests, hops, system calls, CPU time."""
