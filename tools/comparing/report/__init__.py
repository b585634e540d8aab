"""What a comparison found, for people (Markdown, SVG) and for programs (JSON)."""
