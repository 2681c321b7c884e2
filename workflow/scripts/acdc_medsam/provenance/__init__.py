"""What every published file was made from."""
