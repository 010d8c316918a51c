"""What is asked of a finished run; each question is one file, and one command."""
