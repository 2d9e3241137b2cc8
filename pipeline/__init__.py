"""BigLearn: one generative model that samples any part of the data from any other part."""
