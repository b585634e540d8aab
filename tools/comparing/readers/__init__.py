"""Small programs that read and time themselves: without the start of an interpreter."""
