"""What every resource does alike: bodies, media types, versions, selectors, pages, waiting, repetition."""
