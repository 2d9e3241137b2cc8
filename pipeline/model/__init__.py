"""The networks, their noise, their files, and the sampler that draws with them."""
