"""What developing, demonstrating and testing the provider needs and its users do not."""
