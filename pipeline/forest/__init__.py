"""A forest under the same principle: trees grown on masked copies of the rows say any target from any source."""
