"""What runs in a process of its own, with torch. Nothing here is imported by the kit."""
