"""A run folder as one page: `story` reads it, `words` and `figures` tell it, `page` puts it up."""
