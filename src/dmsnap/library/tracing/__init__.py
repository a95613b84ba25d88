"""What a load did and when: recorded, and written as JSON or as a picture."""
