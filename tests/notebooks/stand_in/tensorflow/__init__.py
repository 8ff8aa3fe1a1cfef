"""Is there to be imported by whoever tries, so that it shows: nobody should."""
