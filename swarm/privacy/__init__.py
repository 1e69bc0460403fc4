"""What happens to numbers before they may leave a site."""
