"""What people start: the command line, the demo page, the doctor."""
