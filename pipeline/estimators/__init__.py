"""scikit-learn's side: BigLearnImputer."""
