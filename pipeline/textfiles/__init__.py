"""Tables that are text: encodings, dialects, records whose cells keep their own text, numbers as people write them."""
