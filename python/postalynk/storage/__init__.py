"""Where projections live: the hot tier; warm and cold join beside it."""
