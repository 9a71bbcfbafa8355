"""What staff and other systems see: REST, the live feed, the page without scripts."""
