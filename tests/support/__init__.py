"""What several tests share: the lab as a world to be asked, and scenarios as data."""
