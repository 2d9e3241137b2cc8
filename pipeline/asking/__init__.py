"""Questions to a fitted model of a table: densities, surprise, cells, conditions, rules, pooled estimates."""
